import assert from "node:assert/strict";
import { test } from "node:test";
import { runProgram } from "./program.test-kit.ts";

// A device goes on with the registration that its store holds: one that holds another's Location asks for that.
for (const { how, uri, security, credential } of [
  { how: "NoSec", uri: "coap", security: "undefined", credential: "undefined" },
  {
    how: "DTLS",
    uri: "coaps",
    security: "psk(name, key)",
    credential: `{ kind: "psk", endpoint: name, identity: name, key: Buffer.from(key, "hex") }`,
  },
  {
    how: "OSCORE",
    uri: "coap",
    security: `oscore({ senderId: id(name), recipientId: "ff" + id(name), masterSecret: key })`,
    credential: `{ kind: "oscore", endpoint: name, senderId: Buffer.from("ff" + id(name), "hex"), recipientId: Buffer.from(id(name), "hex"),
      masterSecret: Buffer.from(key, "hex"), derivation: "negotiated" }`,
  },
]) {
  test(`a device over ${how} that holds another's Location is refused, registers as itself, and leaves the other alone`, async () => {
    const { reports, exit, stderr } = await runProgram(`
      const { oscore, psk } = await import("@godwit/client");
      const { memoryStore } = await import("@godwit/io");
      const key = "000102030405060708090a0b0c0d0e0f";
      const id = (name) => name === "victim" ? "01" : "02";
      const sealer = { seal: (plain) => plain, open: (sealed) => sealed };
      const server = await openServer({ sealer, coaps: "127.0.0.1:0", dtls: { certificates: [] } });
      const devices = new Map();
      for (const name of ["victim", "thief"]) {
        const credential = ${credential};
        if (credential !== undefined) await server.addCredential(credential);
        let saved;
        const store = { records: () => memoryStore(), load: () => saved, save: async (state) => { saved = state; } };
        const address = "${uri}" === "coaps" ? server.secureAddresses[0] : server.addresses[0];
        const security = ${security};
        const open = () => {
          const device = new Device({ endpoint: name, server: "${uri}://" + address, store, ...(security ? { security } : {}) });
          return device;
        };
        const device = await registered(open());
        devices.set(name, { device, open, location: () => saved.registration.location,
          steal: (location) => { saved = { ...saved, registration: { ...saved.registration, location } }; } });
      }
      const { victim, thief } = Object.fromEntries(devices);
      await thief.device.stop({ deregister: false });
      const stolen = victim.location();
      // Where nothing is proven the Location is a secret: it can be guessed only.
      const guess = "${how}" === "NoSec" ? ["rd", stolen[1].slice(0, -1) + "~"] : stolen;
      thief.steal(guess);
      const gone = [];
      server.on("deregistered", (event) => gone.push(event));
      const refused = once(server, "refused");
      const again = await registered(thief.open());
      report((await refused).code);
      report([server.deviceView("victim").id === stolen[1], server.deviceCount]);
      report(gone.map(({ endpoint }) => endpoint));
      report(await server.device("victim").read("/3/0/0"));
      await victim.device.stop();
      await again.stop();
      report(server.deviceCount);
      await server.close();
    `);
    assert.deepEqual(reports, [132, [true, 2], ["thief"], "Godwit", 0]);
    assert.equal(exit, 0, stderr);
  });
}
