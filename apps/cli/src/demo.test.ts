import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { createInterface } from "node:readline";

// The devices' time runs 30 times as fast: a mapping is forgotten after a second.
const SPEED = 30;

test("the demo shows six devices, of which the one that keeps its mapping open stays where it is", async () => {
  const taken = createServer().listen(0, "127.0.0.1");
  await once(taken, "listening");
  const { port } = taken.address() as { port: number };
  const demo = spawn(process.execPath, [
    join(import.meta.dirname, "../bin/godwit.mjs"),
    ...["demo", "--speed", String(SPEED), "--coap", "127.0.0.1:0"],
    ...["--http", `127.0.0.1:${port}`],
  ]);
  try {
    const printed = await lines(demo, "Ready");
    const url = printed.map((line) => /^Page +(http:\S+)/.exec(line)?.[1]).find(Boolean);
    assert.ok(url, printed.join("\n"));
    assert.notEqual(new URL(url).port, String(port));
    assert.ok(printed.some((line) => line.startsWith(`Port ${port} is taken`)));

    const moves = new Map<string, number>();
    const read = new Set<string>();
    await events(`${url}/api/v1/events`, (name, data) => {
      if (name === "updated" && data.moved === true) {
        const { endpoint } = data.device!; // an Update is a device's
        moves.set(endpoint, (moves.get(endpoint) ?? 0) + 1);
      }
      if (name === "task" && data.state === "done" && data.endpoint) read.add(data.endpoint);
      return (
        read.size === 6 &&
        (moves.get("demo-no-keep-alive") ?? 0) >= 2 &&
        (moves.get("demo-queue-mode") ?? 0) >= 2 &&
        (moves.get("demo-oscore") ?? 0) >= 1 &&
        (moves.get("demo-dtls-cid") ?? 0) >= 1 &&
        (moves.get("demo-dtls-resume") ?? 0) >= 1
      );
    });
    assert.equal(moves.get("demo-keep-alive"), undefined);

    const { items } = (await (await fetch(`${url}/api/v1/devices`)).json()) as {
      items: {
        endpoint: string;
        queueMode: boolean;
        reachability: string;
        ledger: { handshakes: { full: number; resumed: number } };
      }[];
    };
    assert.deepEqual(
      items.map(({ endpoint, queueMode }) => `${endpoint} ${queueMode}`),
      [
        "demo-dtls-cid false",
        "demo-dtls-resume false",
        "demo-keep-alive false",
        "demo-no-keep-alive false",
        "demo-oscore false",
        "demo-queue-mode true",
      ],
    );
    const [cid, resume] = items.map(({ ledger }) => ledger.handshakes);
    assert.deepEqual(cid, { full: 1, resumed: 0 });
    assert.equal(resume?.full, 1);
    assert.ok(resume.resumed >= 1);
    const simulation = (await (await fetch(`${url}/api/v1/simulation`)).json()) as Record<
      string,
      { mapping: string; closesIn: number }
    >;
    assert.deepEqual(
      Object.keys(simulation).toSorted(),
      items.map((item) => item.endpoint),
    );
    const kept = simulation["demo-keep-alive"];
    assert.equal(kept?.mapping, "open");
    assert.ok(kept.closesIn > 0 && kept.closesIn <= 30_000 / SPEED);

    // A page elsewhere, on another port of this machine too, orders nothing.
    for (const headers of [
      { origin: "http://evil.example" },
      { origin: "http://127.0.0.1:1" },
      { "sec-fetch-site": "cross-site" },
    ] as Record<string, string>[]) {
      const order = `${url}/api/v1/devices/demo-keep-alive/3303/0/5605`;
      const { status } = await fetch(order, { method: "POST", headers });
      assert.equal(status, 403);
    }

    demo.kill("SIGTERM");
    const [code] = (await once(demo, "exit")) as [number | null];
    assert.equal(code, 0);
  } finally {
    demo.kill("SIGKILL");
    taken.close();
  }
});

/** What a process prints, up to and with a line. */
async function lines(child: ChildProcess, last: string): Promise<readonly string[]> {
  const printed: string[] = [];
  for await (const line of createInterface({ input: child.stdout! })) {
    printed.push(line);
    if (line === last) break;
  }
  return printed;
}

type EventData = {
  readonly endpoint?: string;
  readonly state?: string;
  readonly moved?: boolean;
  readonly device?: { readonly endpoint: string };
};

/** Reads server-sent events until `enough` says so, at most for 30 s. */
async function events(
  url: string,
  enough: (name: string, data: EventData) => boolean,
): Promise<void> {
  const stream = await fetch(url, { signal: AbortSignal.timeout(30_000) });
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of stream.body!) {
    text += decoder.decode(chunk as Uint8Array, { stream: true });
    const whole = text.split("\n\n");
    text = whole.pop() ?? "";
    for (const event of whole) {
      const name = /^event: (.*)$/m.exec(event)?.[1];
      const data = /^data: (.*)$/m.exec(event)?.[1];
      if (name !== undefined && data !== undefined && enough(name, JSON.parse(data) as EventData))
        return;
    }
  }
  assert.fail("the events ended");
}
