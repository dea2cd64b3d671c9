/**
 * The way through a proxy, with and without TLS, and the reports of its
 * failures.
 */
import assert from "node:assert/strict";
import { NgrokdError } from "../../../src/model/error.ts";
import type { ProxyServer } from "../../../src/model/proxy.ts";
import type { TlsClientOptions } from "../../../src/net/types.ts";
import { hours, issue } from "../../support/pki.ts";
import {
  bytesOf,
  type Case,
  digest,
  type ProxyOptions,
  pour,
  readAll,
  readExactly,
  rejects,
  soon,
  textOf,
  trusting,
  until,
  type World,
} from "../kit.ts";

/** A name that only the proxy can resolve. */
const host = "ingress.test";
const names = { [host]: "127.0.0.1" };
const login = "alice:p@ss:wörd";
const credentials = { username: "alice", password: "p@ss:wörd" };

const kinds = ["http", "socks5"] as const;
const each = (
  name: string,
  run: (world: World, kind: (typeof kinds)[number]) => Promise<void>,
): Case[] => kinds.map((kind) => ({ name: `${name} (${kind})`, run: (world) => run(world, kind) }));

export const proxies: Case[] = [
  ...each("a proxy resolves the name; the server may speak first", async (world, kind) => {
    const { net, peer } = world;
    const { server, port } = await peer.listen({ greeting: "220 ready\r\n" });
    const { via, proxy } = await start(world, { kind, names });
    const conn = await net.dial({ host, port }, { via });
    assert.equal(textOf(await readExactly(conn, 11)), "220 ready\r\n");
    await conn.write(bytesOf("hello"));
    conn.closeWrite();
    const socket = await peer.accept(server);
    assert.deepEqual(pick(await peer.receive(socket)), { text: "hello", ended: "fin" });
    await peer.send(socket, { text: "late reply" });
    await peer.finish(socket);
    assert.equal(textOf(await readAll(conn)), "late reply");
    assert.deepEqual(await peer.asked(proxy), [{ target: `${host}:${port}`, login: null }]);
  }),
  ...each(
    "TLS reaches the target, with client certificate, session, half-close",
    async (world, kind) => {
      const { net, peer, pki } = world;
      const { server, port } = await peer.listen({
        tls: { ...pki.server, ca: [pki.root.cert], requestCert: true, rejectUnauthorized: true },
      });
      const { via } = await start(world, { kind, names, login }, credentials);
      const kept: Uint8Array[] = [];
      const sessions = {
        get: () => kept.at(-1),
        wanted: () => true,
        put: (session: Uint8Array) => void kept.push(session),
      };
      for (const resumes of [false, true]) {
        assert.equal(kept.length > 0, resumes);
        const conn = await net.dial(
          { host, port },
          { via, tls: trusting(world, { ...pki.client, sessions }) },
        );
        // A resumed session does without the certificate.
        assert.equal(conn.peer?.subject, resumes ? undefined : "CN=ingress.test, O=Test");
        const socket = await peer.accept(server);
        assert.equal(await peer.peerName(socket), "client.test");
        await peer.send(socket, { text: "first" });
        assert.equal(textOf(await readExactly(conn, 5)), "first");
        await conn.write(bytesOf("done"));
        conn.closeWrite();
        assert.deepEqual(pick(await peer.receive(socket)), { text: "done", ended: "fin" });
        await peer.send(socket, { text: "late reply" });
        await peer.finish(socket);
        assert.equal(textOf(await readAll(conn)), "late reply");
        await soon(conn.closed, "the descriptor comes back");
        // A session can be resumed only if the runtime offers sessions.
        if (kept.length === 0) break;
      }
    },
  ),
  ...each("16 MiB each way at once arrive whole, with TLS and without", async (world, kind) => {
    const { net, peer, pki } = world;
    const { via } = await start(world, { kind, names });
    const size = 16 * 1024 * 1024;
    for (const secure of [false, true]) {
      const { server, port } = await peer.listen(secure ? { tls: pki.server } : {});
      const conn = await net.dial(
        { host, port },
        { via, ...(secure ? { tls: trusting(world) } : {}) },
      );
      const socket = await peer.accept(server);
      const receiving = peer.receive(socket);
      const sending = peer.send(socket, { size }).then(async (sha256) => {
        await peer.finish(socket);
        return sha256;
      });
      const reading = digest(conn);
      const poured = await pour(conn, size);
      conn.closeWrite();
      assert.equal((await receiving).sha256, poured);
      assert.deepEqual(await reading, { length: size, sha256: await sending });
    }
  }),
  ...each(
    "a proxy's reply may come in single bytes, or joined with the stream",
    async (world, kind) => {
      const { net, peer } = world;
      const { port } = await peer.listen({ greeting: "!" });
      const drip = await start(world, { kind, names, mode: "drip", login }, credentials);
      const slow = await net.dial({ host, port }, { via: drip.via });
      assert.equal(textOf(await readExactly(slow, 1)), "!");
      slow.abort();
      if (kind === "socks5") return; // its other replies would be joined, too
      const joined = await start(world, { kind, names, mode: "joined", extra: "early " });
      const conn = await net.dial({ host, port }, { via: joined.via });
      assert.equal(textOf(await readExactly(conn, 7)), "early !");
      conn.abort();
      const early = await rejects("network", () =>
        net.dial({ host, port }, { via: joined.via, tls: trusting(world) }),
      );
      assert.match(early.message, /sent data before TLS began/);
    },
  ),
  ...each("IPv4 and IPv6 targets are named as such", async (world, kind) => {
    const { via, proxy } = await start(world, { kind, mode: "503" });
    await rejects("network", () => world.net.dial({ host: "192.0.2.1", port: 1 }, { via }));
    await rejects("network", () => world.net.dial({ host: "2001:db8::7", port: 65535 }, { via }));
    const v6 =
      kind === "http" ? "[2001:db8::7]:65535" : "2001:0db8:0000:0000:0000:0000:0000:0007:65535";
    assert.deepEqual(
      (await world.peer.asked(proxy)).map(({ target }) => target),
      ["192.0.2.1:1", v6],
    );
  }),
  ...each(
    "an address behind a proxy is no SNI, and the certificate has to carry it",
    async (world, kind) => {
      const { net, peer, pki } = world;
      const far = "127.0.0.9";
      const { via } = await start(world, { kind, names });
      const dial = (port: number) =>
        net.dial({ host: far, port }, { via, tls: trusting(world, { serverName: far }) });
      // This one carries the proxy's address, and not its own.
      const wrong = await peer.listen({ host: far, tls: pki.server });
      const error = await rejects("tls", () => dial(wrong.port));
      assert.match(error.message, /for another name$/);
      const ours = { names: [far], usage: ["server"] } as const;
      const old = { ...ours, notBefore: hours(-3), notAfter: hours(-2) };
      for (const [identity, message] of [
        [await issue(pki.stranger, "far", ours), /CA is not trusted$/],
        [await issue(pki.root, "far", old), /has expired/],
      ] as const) {
        const { port } = await peer.listen({ host: far, tls: identity });
        assert.match((await rejects("tls", () => dial(port))).message, message);
      }
      const own = await issue(pki.root, "far", ours);
      const right = await peer.listen({ host: far, tls: own });
      const conn = await dial(right.port);
      assert.equal(await peer.askedFor(await peer.accept(right.server)), null);
      conn.abort();
    },
  ),
  ...each(
    "a wrong certificate behind a proxy is refused without a byte sent",
    async (world, kind) => {
      const { net, peer, pki } = world;
      const { server, port } = await peer.listen({ tls: pki.server });
      const { via } = await start(world, { kind, names });
      const wrong: [Partial<TlsClientOptions>, RegExp][] = [
        [{ ca: [pki.stranger.cert] }, /CA is not trusted$/],
        [{ serverName: "other.test" }, /for another name$/],
        [{ serverName: "127.0.0.9" }, /for another name$/],
      ];
      for (const [more, message] of wrong) {
        const error = await rejects("tls", () =>
          net.dial({ host, port }, { via, tls: trusting(world, more) }),
        );
        assert.match(error.message, message);
        assert.match(error.message, /^Cannot connect to "ingress\.test:\d+" over TLS/);
        assert.equal(
          (error.details.certificate as { subject: string }).subject,
          "CN=ingress.test, O=Test",
        );
      }
      const { secured } = await peer.handshakes(server);
      for (let i = 0; i < secured; i++)
        assert.equal((await soon(peer.receive(await peer.accept(server)), "its end")).length, 0);
    },
  ),
  ...each(
    "a cut handshake and a plain server behind it are reported with its name",
    async (world, kind) => {
      const { net, peer } = world;
      const dial = (port: number, via: ProxyServer) =>
        rejects("network", () => net.dial({ host, port }, { via, tls: trusting(world) }));
      const told = (error: NgrokdError, message: RegExp): void => {
        assert.match(error.message, message);
        assert.match(
          error.message,
          /^Cannot connect to "ingress\.test:\d+" through the proxy "\w+:\/\/127\.0\.0\.1:\d+": it accepted the tunnel, but/,
        );
        assert.match(String(error.details.proxy), /127\.0\.0\.1/);
      };
      const cutting = await start(world, { kind, names, mode: "cut" });
      told(await soon(dial(1, cutting.via), "the rejection"), /closed during the TLS handshake$/);
      await until(
        "the proxy's client has gone",
        async () => (await peer.clients(cutting.proxy)) === 0,
      );
      const { via, proxy } = await start(world, { kind, names });
      for (const end of ["finish", "reset"] as const) {
        const { server, port } = await peer.listen();
        const dialing = dial(port, via);
        const socket = await peer.accept(server);
        await peer.receive(socket, { size: 1 });
        await peer[end](socket);
        told(await soon(dialing, "the rejection"), /closed during the TLS handshake$/);
      }
      const { server, port } = await peer.listen();
      const dialing = dial(port, via);
      const socket = await peer.accept(server);
      await peer.receive(socket, { size: 1 });
      await peer.send(socket, { text: "220 this is not TLS\r\n" });
      told(await soon(dialing, "the rejection"), /not TLS$/);
      await peer.destroy(socket);
      await until("the proxy's client has gone", async () => (await peer.clients(proxy)) === 0);
    },
  ),
  ...each(
    "our certificate that does not fit its key is refused, nothing stays open",
    async (world, kind) => {
      const { net, peer, pki } = world;
      const { port } = await peer.listen({ tls: pki.server });
      const { via, proxy } = await start(world, { kind, names });
      const tls = trusting(world, { cert: pki.client.cert, key: pki.server.key });
      const error = await rejects("tls", () => net.dial({ host, port }, { via, tls }));
      assert.match(error.message, /^Cannot connect to "ingress\.test:\d+" over TLS: /);
      await until("the proxy's client has gone", async () => (await peer.clients(proxy)) === 0);
    },
  ),
  ...each("wrong and missing credentials are told, and never shown", async (world, kind) => {
    const { net, peer } = world;
    const { port } = await peer.listen();
    const proxy = await start(world, { kind, names, login });
    for (const given of [undefined, { username: "alice", password: "s3cret" }]) {
      const via = { ...proxy.via, ...(given === undefined ? {} : { credentials: given }) };
      const error = await rejects("network", () => net.dial({ host, port }, { via }));
      assert.match(
        error.message,
        /^Cannot connect to "ingress\.test:\d+" through the proxy "(?:http|socks5):\/\/(?:\[redacted\]@)?127\.0\.0\.1:\d+": it /,
      );
      assert.match(
        error.hint ?? "",
        given === undefined
          ? /^add a user name and a password to the proxy's URL/
          : /^are the user name and the password/,
      );
      assert.doesNotMatch(
        `${error.message} ${error.hint} ${JSON.stringify(error.details)}`,
        /s3cret/,
      );
      assert.match(String(error.details.proxy), /127\.0\.0\.1/);
    }
  }),
  ...each("a proxy that fails is told with its name, and let go", async (world, kind) => {
    const { net, peer } = world;
    const { port } = await peer.listen();
    const cases = [
      [
        "503",
        kind === "http"
          ? /it answered 503 "Service Unavailable"$/
          : /it answered "host unreachable"$/,
      ],
      ["close", /it closed the connection before its answer$/],
      ["flood", /it answered /],
    ] as const;
    for (const [mode, message] of cases) {
      const { via, proxy } = await start(world, { kind, names, mode });
      const error = await soon(
        rejects("network", () => net.dial({ host, port }, { via })),
        mode,
      );
      assert.match(error.message, message);
      await until("the proxy's client has gone", async () => (await peer.clients(proxy)) === 0);
    }
    const other = await start(world, { kind: kind === "http" ? "socks5" : "http", names });
    const wrongKind = { ...other.via, kind } satisfies ProxyServer;
    await soon(
      rejects("network", () => net.dial({ host, port }, { via: wrongKind })),
      "the wrong kind of proxy",
    );
    const gone = await rejects("network", () =>
      net.dial({ host, port }, { via: { kind, host: "127.0.0.1", port: 1 } }),
    );
    assert.match(
      gone.message,
      /through the proxy "\w+:\/\/127\.0\.0\.1:1": Cannot connect to "127\.0\.0\.1:1": connection refused/,
    );
    const unknown = await rejects("network", () =>
      net.dial({ host, port }, { via: { kind, host: "no-such-proxy.invalid", port: 1 } }),
    );
    assert.match(unknown.message, /Cannot look up "no-such-proxy\.invalid"/);
  }),
  ...each(
    "a hanging proxy, or TLS behind one, ends with the signal's reason",
    async (world, kind) => {
      const { net, peer } = world;
      const { server, port } = await peer.listen();
      const hanging = await start(world, { kind, names, mode: "hang" });
      const reason = new NgrokdError("timeout", "the header took too long");
      const stop = new AbortController();
      const dialing = rejects("timeout", () =>
        net.dial({ host, port }, { via: hanging.via, signal: stop.signal }),
      );
      await until(
        "the proxy was asked",
        async () => (await peer.asked(hanging.proxy)).length === 1,
      );
      stop.abort(reason);
      assert.equal(await soon(dialing, "the rejection"), reason);
      await until(
        "the proxy's client has gone",
        async () => (await peer.clients(hanging.proxy)) === 0,
      );

      const { via, proxy } = await start(world, { kind, names });
      const late = new AbortController();
      const securing = rejects("timeout", () =>
        net.dial({ host, port }, { via, tls: trusting(world), signal: late.signal }),
      );
      const socket = await peer.accept(server);
      // TLS has begun behind the proxy.
      await peer.receive(socket, { size: 1 });
      late.abort(reason);
      assert.equal(await soon(securing, "the rejection behind the proxy"), reason);
      assert.notEqual(await soon(peer.ended(socket), "the peer sees the end"), null);
      await peer.destroy(socket);
      await until("the proxy's client has gone", async () => (await peer.clients(proxy)) === 0);
    },
  ),
];

async function start(
  { peer }: World,
  options: ProxyOptions,
  credentials?: ProxyServer["credentials"],
): Promise<{ via: ProxyServer; proxy: number }> {
  const { proxy, port } = await peer.proxy(options);
  return {
    proxy,
    via: {
      kind: options.kind,
      host: "127.0.0.1",
      port,
      ...(credentials === undefined ? {} : { credentials }),
    },
  };
}

const pick = ({ text, ended }: { text: string; ended: string | null }) => ({ text, ended });
