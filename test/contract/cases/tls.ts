/**
 * Trust over TLS, the reasons of refusals, and that a stranger receives no
 * bytes.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { X509Certificate } from "node:crypto";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import type { TlsClientOptions } from "../../../src/net/types.ts";
import { type Identity, intermediateCa, issue } from "../../support/pki.ts";
import {
  bytesOf,
  type Case,
  listening,
  portOf,
  readAll,
  readExactly,
  rejects,
  soon,
  textOf,
  trusting,
  until,
  type World,
} from "../kit.ts";

export const tls: Case[] = [
  {
    name: "a certificate for the right name from a trusted CA is accepted, and shown",
    async run(world) {
      const { conn } = await dial(world, world.pki.server, trusting(world));
      assert.deepEqual(conn.peer, {
        subject: "CN=ingress.test, O=Test",
        issuer: "CN=Test Root CA, O=Test",
        fingerprint256: new X509Certificate(world.pki.server.cert).fingerprint256,
      });
      conn.abort();
    },
  },
  {
    name: "bytes from the server right after the handshake are not lost",
    async run(world) {
      const { net, peer, pki } = world;
      const { port } = await peer.listen({ tls: pki.server, greeting: "220 ready\r\n" });
      const conn = await net.dial({ host: "127.0.0.1", port }, { tls: trusting(world) });
      await new Promise((resolve) => setTimeout(resolve, 50));
      assert.equal(textOf(await readExactly(conn, 11)), "220 ready\r\n");
      conn.abort();
    },
  },
  {
    name: "several CAs, in one text and in several, are all trusted",
    async run(world) {
      const { root, stranger, server } = world.pki;
      for (const ca of [
        [stranger.cert, root.cert],
        [stranger.cert + root.cert],
        [`# a comment\n${root.cert}`],
      ]) {
        const { conn } = await dial(world, server, trusting(world, { ca }));
        conn.abort();
      }
    },
  },
  {
    name: "an intermediate CA is an anchor, whether the server sends it or not",
    async run(world) {
      const { intermediate, leafOnly, withChain, root } = world.pki;
      for (const identity of [leafOnly, withChain]) {
        const { conn } = await dial(world, identity, trusting(world, { ca: [intermediate.cert] }));
        conn.abort();
      }
      const { conn } = await dial(world, withChain, trusting(world, { ca: [root.cert] }));
      conn.abort();
      await refused(world, leafOnly, trusting(world, { ca: [root.cert] }), /CA is not trusted/);
    },
  },
  {
    name: "a CA file trusts the same as its list, also once it is gone",
    async run(world) {
      const { root, intermediate, leafOnly, stranger, server } = world.pki;
      const filed = (name: string, ca: readonly string[]): TlsClientOptions => {
        const caFile = join(world.folder, `trusted-${name}.pem`);
        writeFileSync(caFile, ca.join(""));
        return trusting(world, { ca, caFile });
      };
      for (const options of [
        filed("root", [stranger.cert, root.cert]),
        filed("two", [root.cert]),
      ]) {
        for (const gone of [false, true]) {
          if (gone) rmSync(options.caFile ?? "");
          const { conn } = await dial(world, server, options);
          conn.abort();
        }
      }
      const { conn } = await dial(world, leafOnly, filed("intermediate", [intermediate.cert]));
      conn.abort();
      await refused(world, leafOnly, filed("root-only", [root.cert]), /CA is not trusted/);
      await refused(world, server, filed("stranger", [stranger.cert]), /CA is not trusted/);
    },
  },
  {
    name: "an untrusted CA is refused with the certificate's names, no byte is sent",
    async run(world) {
      const { stranger, server } = world.pki;
      const error = await refused(
        world,
        server,
        trusting(world, { ca: [stranger.cert], ...world.pki.client }),
        /CA is not trusted/,
      );
      assert.match(String(error.details.reason), /^(UNABLE_TO|SELF_SIGNED)_/);
      assert.deepEqual(error.details.certificate, {
        subject: "CN=ingress.test, O=Test",
        issuer: "CN=Test Root CA, O=Test",
        fingerprint256: new X509Certificate(server.cert).fingerprint256,
      });
    },
  },
  {
    name: "an untrusted chain is in the error, and is not printed with it",
    async run(world) {
      const intermediate = await intermediateCa(world.pki.root);
      const leaf = await issue(intermediate, "ingress.test", { names: ["ingress.test"] });
      const server = { ...leaf, cert: leaf.cert + intermediate.cert };
      const tls = trusting(world, { ca: [world.pki.stranger.cert] });
      const error = await refused(world, server, tls, /CA is not trusted/);
      const chain = error.details.chain as readonly Uint8Array[];
      assert.deepEqual(
        chain.slice(0, 2).map((der) => new X509Certificate(Buffer.from(der)).fingerprint256),
        [leaf.cert, intermediate.cert].map((pem) => new X509Certificate(pem).fingerprint256),
      );
      assert.equal("chain" in { ...error.details }, false);
    },
  },
  {
    name: "a wrong name is refused",
    async run(world) {
      const error = await refused(
        world,
        world.pki.server,
        trusting(world, { serverName: "other.test" }),
        /for another name/,
      );
      assert.equal(error.details.reason, "ERR_TLS_CERT_ALTNAME_INVALID");
    },
  },
  {
    name: "an IP as the server's name is checked against the certificate's IPs",
    async run(world) {
      const { conn } = await dial(
        world,
        world.pki.server,
        trusting(world, { serverName: "127.0.0.1" }),
      );
      conn.abort();
      await refused(
        world,
        world.pki.server,
        trusting(world, { serverName: "127.0.0.2" }),
        /for another name/,
      );
      await refused(
        world,
        world.pki.leafOnly,
        trusting(world, { serverName: "127.0.0.1", ca: [world.pki.intermediate.cert] }),
        /for another name/,
      );
    },
  },
  {
    name: "a name goes to the server as SNI, and an address does not",
    async run(world) {
      const { net, peer, pki } = world;
      for (const [host, serverName, sent] of [
        ["127.0.0.1", "ingress.test", "ingress.test"],
        ["localhost", "localhost", "localhost"],
        ["127.0.0.1", "127.0.0.1", null],
        ["127.0.0.1", "::1", null],
      ] as const) {
        const { server, port } = await peer.listen({ tls: pki.server });
        const conn = await net.dial({ host, port }, { tls: trusting(world, { serverName }) });
        assert.equal(await peer.askedFor(await peer.accept(server)), sent, serverName);
        conn.abort();
      }
      const { server, port } = await peer.listen({ host: "::1", tls: pki.server });
      const tls = trusting(world, { serverName: "::1" });
      const conn = await net.dial({ host: "::1", port }, { tls });
      assert.equal(await peer.askedFor(await peer.accept(server)), null, "to ::1");
      conn.abort();
    },
  },
  {
    name: "an address as the server's name makes no other fault of a certificate pass",
    async run(world) {
      const { stranger, expired, server, client } = world.pki;
      for (const serverName of ["127.0.0.1", "::1"]) {
        const asked = (more: Partial<TlsClientOptions> = {}) =>
          trusting(world, { serverName, ...more });
        await refused(world, server, asked({ ca: [stranger.cert] }), /CA is not trusted/);
        await refused(world, expired, asked(), /has expired/);
        await refused(world, client, asked(), /./);
      }
    },
  },
  {
    name: "an expired certificate is refused",
    async run(world) {
      const error = await refused(world, world.pki.expired, trusting(world), /has expired/);
      assert.equal(error.details.reason, "CERT_HAS_EXPIRED");
    },
  },
  {
    name: "a certificate that is meant for clients is refused",
    async run(world) {
      const { client } = world.pki;
      await refused(world, client, trusting(world, { serverName: "client.test" }), /./);
    },
  },
  {
    name: "an empty list of CAs trusts no server",
    async run(world) {
      const { net, peer, pki } = world;
      const { port } = await peer.listen({ tls: pki.server });
      await rejects("tls", () =>
        net.dial({ host: "127.0.0.1", port }, { tls: trusting(world, { ca: [] }) }),
      );
      await rejects("tls", () =>
        net.listen({ host: "127.0.0.1", port: 0 }, () => undefined, {
          tls: { ...pki.server, clientCa: [] },
        }),
      );
    },
  },
  {
    name: "the environment cannot switch verification off, nor add a CA",
    async run(world) {
      const { net, peer, pki } = world;
      const { port } = await peer.listen({ tls: pki.server });
      const script = fileURLToPath(new URL("../peers/dial-stranger.ts", import.meta.url).href);
      const flags =
        net.runtime === "deno"
          ? [
              "run",
              "-A",
              "--config",
              fileURLToPath(new URL("../../../deno.json", import.meta.url).href),
            ]
          : [];
      const child = spawn(
        process.execPath,
        [...flags, script, net.runtime, String(port), pki.stranger.cert],
        {
          env: { ...process.env, NODE_TLS_REJECT_UNAUTHORIZED: "0" },
          stdio: ["ignore", "pipe", "inherit"],
        },
      );
      const parts: Buffer[] = [];
      child.stdout.on("data", (bytes: Buffer) => parts.push(bytes));
      await soon(new Promise((resolve) => child.once("close", resolve)), "the child", 20_000);
      assert.equal(Buffer.concat(parts).toString().trim(), "tls");
    },
  },
  {
    name: "insecureSkipVerify accepts any certificate, shows it, and needs TLS",
    async run(world) {
      const { net, peer, pki } = world;
      for (const options of [
        { ca: [pki.stranger.cert] },
        { serverName: "other.test" },
        { ca: [pki.stranger.cert], serverName: "other.test" },
        { serverName: "127.0.0.9" },
        { ca: [] },
      ]) {
        const { conn, socket } = await dial(
          world,
          pki.server,
          trusting(world, { ...options, insecureSkipVerify: true }),
        );
        assert.equal(conn.peer?.subject, "CN=ingress.test, O=Test");
        await conn.write(bytesOf("hello"));
        assert.equal((await peer.receive(socket, { size: 5 })).text, "hello");
        conn.abort();
      }
      const { port } = await peer.listen({ greeting: "220 this is not TLS\r\n" });
      await rejects("tls", () =>
        net.dial(
          { host: "127.0.0.1", port },
          { tls: trusting(world, { insecureSkipVerify: true }) },
        ),
      );
    },
  },
  {
    name: "a server that does not speak TLS, or hangs up in the handshake, is a tls error",
    async run(world) {
      const { net, peer } = world;
      const plain = await peer.listen({ greeting: "220 this is not TLS\r\n" });
      const error = await rejects("tls", () =>
        net.dial({ host: "127.0.0.1", port: plain.port }, { tls: trusting(world) }),
      );
      assert.match(error.message, /the server does not speak TLS/);
      for (const end of ["finish", "reset"] as const) {
        const { server, port } = await peer.listen();
        const dialing = rejects("tls", () =>
          net.dial({ host: "127.0.0.1", port }, { tls: trusting(world) }),
        );
        const socket = await peer.accept(server);
        await peer.receive(socket, { size: 1 });
        await peer[end](socket);
        assert.match(
          (await soon(dialing, "the rejection")).message,
          /closed the connection during the handshake/,
        );
      }
    },
  },
  {
    name: "TLS 1.1 is refused",
    async run(world) {
      const { net, peer, pki } = world;
      const old = {
        ...pki.server,
        minVersion: "TLSv1",
        maxVersion: "TLSv1.1",
        ciphers: "DEFAULT@SECLEVEL=0",
      };
      const { port } = await peer.listen({ tls: old });
      await rejects("tls", () => net.dial({ host: "127.0.0.1", port }, { tls: trusting(world) }));
    },
  },
  ...[
    ["the key exchange of RSA", "AES128-GCM-SHA256"],
    ["CBC and SHA-1", "ECDHE-RSA-AES128-SHA"],
    ["CBC and SHA-256", "ECDHE-RSA-AES128-SHA256"],
  ].map(
    ([what, ciphers]): Case => ({
      name: `a server of TLS 1.2 that knows nothing but ${what} is refused`,
      async run(world) {
        const options = { ...(await rsa(world, 2048)), maxVersion: "TLSv1.2", ciphers };
        await refused(world, options, trusting(world), /./);
      },
    }),
  ),
  ...["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384"].map(
    (ciphers): Case => ({
      name: `a server of TLS 1.2 with ${ciphers} is accepted`,
      async run(world) {
        const options = { ...(await rsa(world, 2048)), maxVersion: "TLSv1.2", ciphers };
        const { conn } = await dial(world, options, trusting(world));
        conn.abort();
      },
    }),
  ),
  {
    name: "a certificate with a common name and no alternative name is refused",
    async run(world) {
      await tooWeak(
        world,
        await issue(world.pki.root, "ingress.test", { usage: ["server"] }),
        trusting(world),
        /alternative name|for another name/,
      );
    },
  },
  {
    name: "a certificate signed with SHA-1 is refused, and so is its CA's",
    async run(world) {
      const names = ["ingress.test"];
      const leaf = await issue(world.pki.root, "ingress.test", { names, hash: "SHA-1" });
      await tooWeak(world, weakly(leaf), trusting(world), /SHA-1|not trusted/);
      // Its subject is the forger's choice; that of its issuer is one, too.
      const [, name = ""] = /^CN=([^,]+)/.exec(world.pki.root.certificate.subject) ?? [];
      const namesake = await issue(world.pki.root, name, { names, hash: "SHA-1" });
      await tooWeak(world, weakly(namesake), trusting(world), /SHA-1|not trusted|self-signed/);
      const weak = await intermediateCa(world.pki.root, "Weak CA", {}, "SHA-1");
      const below = await issue(weak, "ingress.test", { names });
      const chain = { cert: below.cert + weak.cert, key: below.key };
      await tooWeak(world, weakly(chain), trusting(world), /SHA-1|not trusted/);
      // As an anchor the CA is trusted for itself, whatever its signature.
      const { conn } = await dial(world, weakly(chain), trusting(world, { ca: [weak.cert] }));
      conn.abort();
    },
  },
  {
    name: "a certificate with an RSA key of 1024 bits is refused",
    async run(world) {
      await tooWeak(world, weakly(await rsa(world, 1024)), trusting(world), /2048|not trusted/);
    },
  },
  {
    name: "insecureSkipVerify accepts a weak certificate, too",
    async run(world) {
      // Deno's TLS has no means to read such a certificate.
      if (world.net.runtime === "deno") return;
      const insecure = trusting(world, { insecureSkipVerify: true });
      const { conn } = await dial(world, weakly(await rsa(world, 1024)), insecure);
      conn.abort();
    },
  },
  {
    name: "our client certificate is shown to a server that asks",
    async run(world) {
      const { pki, peer } = world;
      const { conn, socket } = await dial(world, asking(world), trusting(world, pki.client));
      assert.equal(await peer.peerName(socket), "client.test");
      conn.abort();
    },
  },
  {
    name: "a missing client certificate surfaces as tls on the first read (TLS 1.3)",
    async run(world) {
      const { net, peer } = world;
      const { server, port } = await peer.listen({ tls: asking(world) });
      const conn = await net.dial({ host: "127.0.0.1", port }, { tls: trusting(world) });
      const refusal = rejects("tls", async () => {
        await conn.write(bytesOf("header"));
        await conn.read();
      });
      const error = await soon(refusal, "the refusal");
      assert.match(String(error.details.reason), /ALERT/);
      assert.match(error.message, /certificate required/);
      await soon(conn.closed, "closed");
      assert.equal((await peer.handshakes(server)).secured, 0);
    },
  },
  {
    name: "a client certificate of an unknown CA gets no answer",
    async run(world) {
      const { net, peer, pki } = world;
      const { server, port } = await peer.listen({ tls: asking(world), greeting: "welcome" });
      const conn = await net.dial(
        { host: "127.0.0.1", port },
        { tls: trusting(world, pki.strangersClient) },
      );
      // Node.js closes without any alert; other servers send one.
      const answer = await soon(
        Promise.resolve(conn.read()).catch((error) => error.code),
        "the end",
      );
      assert(answer === "aborted" || answer === "tls", `${answer}`);
      conn.close();
      await soon(conn.closed, "closed");
      assert.equal((await peer.handshakes(server)).secured, 0);
    },
  },
  {
    name: "a missing client certificate is a failed dial over TLS 1.2",
    async run(world) {
      const { net, peer } = world;
      const { port } = await peer.listen({ tls: { ...asking(world), maxVersion: "TLSv1.2" } });
      const error = await rejects("tls", () =>
        net.dial({ host: "127.0.0.1", port }, { tls: trusting(world) }),
      );
      assert.match(String(error.details.reason), /ALERT/);
    },
  },
  {
    name: "a certificate and a key that are garbage, or not a pair, are a tls error",
    async run(world) {
      const { net, peer, pki } = world;
      const { port } = await peer.listen({ tls: asking(world) });
      for (const own of [
        { cert: pki.client.cert, key: pki.server.key },
        { cert: "garbage", key: "garbage" },
      ]) {
        await rejects("tls", () =>
          net.dial({ host: "127.0.0.1", port }, { tls: trusting(world, own) }),
        );
      }
    },
  },
  {
    name: "our TLS listener verifies clients by its CA if it asks for them",
    async run(world) {
      const { peer, pki } = world;
      const { listener, next } = await listening(
        world,
        { host: "127.0.0.1", port: 0 },
        { tls: { ...pki.server, clientCa: [pki.root.cert] } },
      );
      const connect = (own: object) =>
        peer.connect({
          port: portOf(listener),
          tls: { ca: [pki.root.cert], servername: "ingress.test", ...own },
        });
      for (const own of [{}, pki.strangersClient]) {
        // With TLS 1.3 the client may take its connection for open for a
        // moment.
        const socket = await connect(own).catch(() => undefined);
        if (socket !== undefined) assert.notEqual(await soon(peer.ended(socket), "the drop"), null);
      }
      const socket = await connect(pki.client);
      const conn = await soon(next(), "the client that is welcome");
      assert.equal(conn.peer?.subject, "CN=client.test, O=Test");
      assert.equal(conn.peer?.fingerprint256, new X509Certificate(pki.client.cert).fingerprint256);
      await conn.write(bytesOf("welcome"));
      assert.equal((await peer.receive(socket, { size: 7 })).text, "welcome");
      conn.abort();
      listener.close();
    },
  },
  {
    name: "our TLS listener without client CAs takes all clients, survives garbage",
    async run(world) {
      const { peer, pki } = world;
      const { listener, next } = await listening(
        world,
        { host: "127.0.0.1", port: 0 },
        { tls: pki.server },
      );
      const garbage = await peer.connect({ port: portOf(listener) });
      await peer.send(garbage, { text: "GET / HTTP/1.1\r\n\r\n" });
      const hungUp = await peer.connect({ port: portOf(listener) });
      await peer.destroy(hungUp);
      await soon(peer.ended(garbage), "the drop");
      const socket = await peer.connect({
        port: portOf(listener),
        tls: { ca: [pki.root.cert], servername: "ingress.test" },
      });
      const conn = await soon(next(), "the client");
      assert.equal(conn.peer, undefined);
      await peer.send(socket, { text: "hello" });
      await peer.finish(socket);
      assert.equal(textOf(await readAll(conn)), "hello");
      conn.close();
      listener.close();
    },
  },
  {
    name: "two of our own talk over TLS with certificates on both sides",
    async run(world) {
      const { net, pki } = world;
      const { listener, next } = await listening(
        world,
        { host: "127.0.0.1", port: 0 },
        { tls: { ...pki.server, clientCa: [pki.root.cert] } },
      );
      const ours = await net.dial(listener.address, { tls: trusting(world, pki.client) });
      await ours.write(bytesOf("hello"));
      ours.closeWrite();
      const theirs = await next();
      assert.equal(textOf(await readAll(theirs)), "hello");
      await theirs.write(bytesOf("late reply"));
      theirs.close();
      assert.equal(textOf(await readAll(ours)), "late reply");
      ours.close();
      await soon(Promise.all([ours.closed, theirs.closed]), "closed");
      listener.close();
    },
  },
];

function asking({ pki }: World): object {
  return { ...pki.server, ca: [pki.root.cert], requestCert: true, rejectUnauthorized: true };
}

async function dial({ net, peer }: World, server: object, options: TlsClientOptions) {
  const listening = await peer.listen({ tls: server });
  const conn = await net.dial({ host: "127.0.0.1", port: listening.port }, { tls: options });
  return { conn, socket: await peer.accept(listening.server) };
}

/**
 * Asserts that the dial fails for this reason and that the server has neither a
 * connection nor a client certificate from us.
 */
/** A server with this RSA key; the suites of TLS 1.2 above need RSA. */
async function rsa({ pki }: World, bits: 1024 | 2048): Promise<Identity> {
  return await issue(pki.root, "ingress.test", { names: ["ingress.test"], key: `RSA-${bits}` });
}

/** OpenSSL itself refuses to serve with such a certificate otherwise. */
const weakly = (identity: Identity): Identity & { ciphers: string } => ({
  ...identity,
  ciphers: "DEFAULT@SECLEVEL=0",
});

/**
 * As {@link refused}; some runtimes judge only after their half of the
 * handshake.
 */
async function tooWeak(
  { net, peer }: World,
  server: Identity,
  options: TlsClientOptions,
  message: RegExp,
): Promise<void> {
  const { port } = await peer.listen({ tls: server });
  const error = await rejects("tls", () => net.dial({ host: "127.0.0.1", port }, { tls: options }));
  assert.match(error.message, message);
  assert.equal(typeof error.details.reason, "string");
}

async function refused(
  { net, peer, pki }: World,
  server: Identity,
  options: TlsClientOptions,
  message: RegExp,
) {
  const listening = await peer.listen({
    tls: {
      ...server,
      ca: [pki.root.cert],
      requestCert: true,
      rejectUnauthorized: false,
      allowHalfOpen: false,
    },
  });
  const error = await rejects("tls", () =>
    net.dial({ host: "127.0.0.1", port: listening.port }, { tls: options }),
  );
  assert.match(error.message, message);
  assert.equal(typeof error.details.reason, "string");
  await until(
    "the server has seen the end",
    async () => (await peer.handshakes(listening.server)).failures.length > 0,
  );
  return error;
}
