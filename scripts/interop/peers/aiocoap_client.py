"""A CoAP client built on aiocoap: aiocoap_client.py [--credentials CREDENTIALS.json] and one of the commands below. The credentials
are for OSCORE. Where the answer has a Location, the code is followed by its path.

aiocoap_client.py get URI [SZX]         prints the code, then the body
aiocoap_client.py again URI             the same twice: prints both codes, then the last body
aiocoap_client.py put URI FILE [SZX [outer]]    prints the code; outer: of the protected whole (RFC 8613 4.1.3.4.2)
aiocoap_client.py post URI FILE [SZX]   prints the code, then the body; FILE is in application/link-format
aiocoap_client.py delete URI            prints the code
aiocoap_client.py observe URI COUNT     prints COUNT bodies, one a line, then cancels
"""

import asyncio
import json
import sys

import aiocoap
from aiocoap.numbers import Code
from aiocoap.optiontypes import BlockOption


def message(method, uri, payload, szx, inner=False):
    asked = aiocoap.Message(code=getattr(Code, method.upper()), uri=uri, payload=payload)
    if method == "post":
        asked.opt.content_format = 40
    if szx is not None and payload and inner:
        # The size at the remote would be that of outer blocks (RFC 8613 4.1.3.4.2), cut from the protected whole.
        asked.opt.block1 = BlockOption.BlockwiseTuple(0, False, szx)
    elif szx is not None and payload:
        asked.remote.maximum_block_size_exp = szx
    elif szx is not None:
        asked.opt.block2 = BlockOption.BlockwiseTuple(0, False, szx)
    return asked


async def main():
    words = sys.argv[1:]
    client = await aiocoap.Context.create_client_context()
    protected = words[0] == "--credentials"
    if protected:
        with open(words[1], encoding="utf-8") as file:
            client.client_credentials.load_from_dict(json.load(file))
        words = words[2:]
    method, uri, *rest = words
    if method == "again":
        first = await client.request(message("get", uri, b"", None)).response
        print(first.code.dotted, flush=True)
        method = "get"
    if method == "observe":
        running = client.request(aiocoap.Message(code=aiocoap.GET, uri=uri, observe=0))
        print((await running.response).payload.decode(), flush=True)
        left = int(rest[0]) - 1
        async for note in running.observation:
            print(note.payload.decode(), flush=True)
            left -= 1
            if left == 0:
                break
        running.observation.cancel()
        await asyncio.sleep(0.2)
    else:
        payload = b""
        if method in ("put", "post"):
            with open(rest.pop(0), "rb") as file:
                payload = file.read()
        szx = int(rest[0]) if rest else None
        asked = message(method, uri, payload, szx, protected and "outer" not in rest)
        answer = await client.request(asked).response
        place = "".join(f"/{part}" for part in answer.opt.location_path)
        print(f"{answer.code.dotted} {place}".strip(), flush=True)
        sys.stdout.buffer.write(answer.payload)
        sys.stdout.flush()
    await client.shutdown()


asyncio.run(main())
