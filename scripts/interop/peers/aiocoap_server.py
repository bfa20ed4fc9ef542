"""A CoAP server built on aiocoap: aiocoap_server.py HOST PORT [CREDENTIALS.json]

With credentials, for OSCORE, it serves protected requests too.

/hello            "hello"
/clock            counts up each 200 ms, observable
/large            3000 bytes, block-wise
/echo             POST and FETCH give the body back, PUT keeps it, GET tells what was kept
/separate         answers after 300 ms, thus separately
"""

import asyncio
import json
import sys

import aiocoap
from aiocoap import resource
from aiocoap.credentials import CredentialsMap

LARGE = bytes(ord("a") + i % 26 for i in range(3000))


class Hello(resource.Resource):
    async def render_get(self, request):
        return aiocoap.Message(payload=b"hello", content_format=0)


class Clock(resource.ObservableResource):
    def __init__(self):
        super().__init__()
        self.ticks = 0

    async def run(self):
        while True:
            await asyncio.sleep(0.2)
            self.ticks += 1
            self.updated_state()

    async def render_get(self, request):
        return aiocoap.Message(payload=str(self.ticks).encode(), content_format=0)


class Large(resource.Resource):
    async def render_get(self, request):
        return aiocoap.Message(payload=LARGE, content_format=0)


class Echo(resource.Resource):
    def __init__(self):
        super().__init__()
        self.kept = b""

    async def render_get(self, request):
        return aiocoap.Message(payload=self.kept, content_format=0)

    async def render_put(self, request):
        self.kept = request.payload
        return aiocoap.Message(code=aiocoap.CHANGED)

    async def render_post(self, request):
        return aiocoap.Message(code=aiocoap.CHANGED, payload=request.payload, content_format=0)

    async def render_fetch(self, request):
        return aiocoap.Message(code=aiocoap.CONTENT, payload=request.payload, content_format=0)


class Separate(resource.Resource):
    async def render_get(self, request):
        await asyncio.sleep(0.3)
        return aiocoap.Message(payload=b"late", content_format=0)


async def main():
    host, port, *rest = sys.argv[1:]
    clock = Clock()
    site = resource.Site()
    site.add_resource(
        [".well-known", "core"],
        resource.WKCResource(site.get_resources_as_linkheader),
    )
    for path, leaf in [
        ("hello", Hello()),
        ("clock", clock),
        ("large", Large()),
        ("echo", Echo()),
        ("separate", Separate()),
    ]:
        site.add_resource([path], leaf)
    if rest:
        from aiocoap.oscore_sitewrapper import OscoreSiteWrapper

        credentials = CredentialsMap()
        with open(rest[0], encoding="utf-8") as file:
            credentials.load_from_dict(json.load(file))
        site = OscoreSiteWrapper(site, credentials)
    await aiocoap.Context.create_server_context(
        site, bind=(host, int(port)), transports=["simplesocketserver"]
    )
    print("listening", port, flush=True)
    await clock.run()


asyncio.run(main())
