"""A CoAP client built on aiocoap.

aiocoap_client.py get URI [SZX]         prints the code, then the body
aiocoap_client.py again URI             the same twice: prints both codes, then the last body
aiocoap_client.py put URI FILE [SZX]    prints the code
aiocoap_client.py post URI FILE [SZX]   prints the code, then the body
aiocoap_client.py observe URI COUNT     prints COUNT bodies, one a line, then cancels
"""

import asyncio
import sys

import aiocoap
from aiocoap.numbers import Code
from aiocoap.optiontypes import BlockOption


def message(method, uri, payload, szx):
    asked = aiocoap.Message(code=getattr(Code, method.upper()), uri=uri, payload=payload)
    if szx is not None and payload:
        asked.remote.maximum_block_size_exp = szx
    elif szx is not None:
        asked.opt.block2 = BlockOption.BlockwiseTuple(0, False, szx)
    return asked


async def main():
    method, uri, *rest = sys.argv[1:]
    client = await aiocoap.Context.create_client_context()
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
        if method != "get":
            with open(rest.pop(0), "rb") as file:
                payload = file.read()
        szx = int(rest[0]) if rest else None
        answer = await client.request(message(method, uri, payload, szx)).response
        print(answer.code.dotted, flush=True)
        sys.stdout.buffer.write(answer.payload)
        sys.stdout.flush()
    await client.shutdown()


asyncio.run(main())
