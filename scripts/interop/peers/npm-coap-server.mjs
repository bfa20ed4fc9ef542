// A CoAP server built on the npm package coap: npm-coap-server.mjs PORT. Its resources are those of aiocoap_server.py.
import coap from "coap";

const port = Number(process.argv[2]);
const LARGE = Buffer.from(Array.from({ length: 3000 }, (_, i) => "a".charCodeAt(0) + (i % 26)));
const LINKS = "</hello>,</clock>;obs,</large>,</echo>,</separate>";
let kept = Buffer.of();
let ticks = 0;

const server = coap.createServer({ type: "udp4" }, (request, response) => {
  const path = request.url.split("?")[0];
  response.setOption("Content-Format", path === "/.well-known/core" ? 40 : 0);
  if (path === "/.well-known/core") response.end(LINKS);
  else if (path === "/hello") response.end("hello");
  else if (path === "/large") response.end(LARGE);
  else if (path === "/separate") setTimeout(() => response.end("late"), 300);
  else if (path === "/clock" && request.headers.Observe === 0) tick(response);
  else if (path === "/clock") response.end(String(ticks));
  else if (path === "/echo" && request.method === "PUT") {
    kept = request.payload;
    response.code = "2.04";
    response.end();
  } else if (path === "/echo") response.end(kept);
  else {
    response.code = "4.04";
    response.end();
  }
});
server.listen(port, "127.0.0.1", () => console.log(`listening ${port}`));

function tick(response) {
  response.write(String(ticks));
  const timer = setInterval(() => response.write(String(++ticks)), 200);
  response.once("finish", () => clearInterval(timer));
}
