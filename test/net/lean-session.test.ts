import { afterEach, describe, expect, test } from "bun:test";
import { X509Certificate } from "node:crypto";
import { type AddressInfo, connect, createServer, type Server } from "node:net";
import { createServer as createTlsServer, type TLSSocket } from "node:tls";
import { leanSession } from "../../src/net/lean-session.ts";
import type { Conn, TlsSessions } from "../../src/net/types.ts";
import { net, read } from "../support/conns.ts";
import { type Identity, issue, rootCa } from "../support/pki.ts";

const versions = ["TLSv1.2", "TLSv1.3"] as const;
const name = "ingress.test";
const root = await rootCa();
const good = await issue(root, name, { names: [name] });

const servers: { close(): void }[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

describe.each(versions)("a session of %s without certificates", (version) => {
  test("is resumed, and has everything else", async () => {
    const server = await tlsServer(good, version);
    const { whole, sessions } = await firstSession(server.port);
    const lean = sessions.get() ?? new Uint8Array();
    const certificate = new X509Certificate(good.cert).raw;
    expect(Buffer.from(whole).includes(certificate)).toBe(true);
    expect(Buffer.from(lean).includes(certificate)).toBe(false);
    expect(lean.length).toBeLessThan(whole.length - certificate.length);
    const conn = await dial(server.port, sessions);
    expect(await read(conn, 2)).toBe("hi");
    // First Bun alone, then the dial that is kept.
    expect(server.resumed).toEqual([false, false, true]);
    expect(conn.peer).toBeUndefined();
    conn.close();
  });

  test("vouches for no other server", async () => {
    const { sessions } = await firstSession((await tlsServer(good, version)).port);
    const stranger = await issue(await rootCa("Another"), name, { names: [name] });
    const neighbour = await issue(root, "other.test", { names: ["other.test"] });
    const weak = await issue(root, name, { names: [name], key: "RSA-1024" });
    const reasons: unknown[] = [];
    for (const identity of [stranger, neighbour, weak]) {
      const { port } = await tlsServer(identity, version);
      const error = await dial(port, sessions).catch((thrown: unknown) => thrown);
      reasons.push((error as { details?: { reason?: unknown } }).details?.reason);
    }
    expect(reasons).toEqual([
      "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
      "ERR_TLS_CERT_ALTNAME_INVALID",
      "CERT_KEY_TOO_WEAK",
    ]);
    const second = await tlsServer(await issue(root, name, { names: [name] }), version);
    const conn = await dial(second.port, sessions);
    expect(await read(conn, 2)).toBe("hi");
    expect(second.resumed).toEqual([false]);
    conn.close();
  });

  test("does not make a connection of a handshake that is cut off", async () => {
    const server = await tlsServer(good, version);
    const { sessions } = await firstSession(server.port);
    const settled: boolean[] = [];
    for (let length = 0; length <= 1500; length += 25) {
      const { port } = await cutting(server.port, length);
      const outcome = await dial(port, sessions).catch(() => undefined);
      settled.push(outcome !== undefined);
      outcome?.abort();
    }
    // All of them fail until the handshake fits.
    expect(settled).toEqual([...settled].sort());
    expect(new Set(settled)).toEqual(new Set([false, true]));
  });
});

test("bytes of another form stay as they are", async () => {
  const odd = [[], [0x30], [0x30, 0x82, 0xff], [4, 1, 7], [0x30, 3, 2, 1, 7]];
  for (const bytes of odd)
    expect(await leanSession(new Uint8Array(bytes))).toEqual(new Uint8Array(bytes));
});

async function listening(server: Server): Promise<number> {
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

/** Greets each client. `resumed`: whether it has resumed a session. */
async function tlsServer({ cert, key }: Identity, version: (typeof versions)[number]) {
  const resumed: boolean[] = [];
  const settings = { cert, key, minVersion: version, maxVersion: version };
  const server = createTlsServer(settings, (socket: TLSSocket) => {
    resumed.push(socket.isSessionReused());
    socket.on("error", () => undefined);
    socket.write("hi");
  });
  return { port: await listening(server), resumed };
}

/** Carries connections to a port, but no more than so many bytes from there. */
async function cutting(target: number, length: number) {
  const server = createServer((client) => {
    const far = connect(target, "127.0.0.1");
    let left = length;
    for (const socket of [client, far]) socket.on("error", () => undefined);
    client.on("data", (bytes) => far.write(bytes));
    far.on("data", (bytes: Buffer) => {
      if (left > 0) client.write(bytes.subarray(0, left));
      left -= bytes.length;
      if (left > 0) return;
      client.end();
      far.destroy();
    });
    client.on("close", () => far.destroy());
  });
  return { port: await listening(server) };
}

function dial(port: number, sessions: TlsSessions): Promise<Conn> {
  const tls = { serverName: name, ca: [root.cert], sessions };
  return net.dial({ host: "127.0.0.1", port }, { tls });
}

/** The session of a full handshake, as Bun has it and as it is kept. */
async function firstSession(port: number) {
  const kept = Promise.withResolvers<Uint8Array>();
  let session: Uint8Array | undefined;
  const sessions: TlsSessions = {
    get: () => session,
    wanted: () => session === undefined,
    put: kept.resolve,
  };
  const whole = await wholeSession(port);
  const conn = await dial(port, sessions);
  await read(conn, 2);
  session = await kept.promise;
  conn.close();
  return { whole, sessions };
}

/** By Bun alone. */
function wholeSession(port: number): Promise<Uint8Array> {
  const { promise, resolve } = Promise.withResolvers<Uint8Array>();
  void Bun.connect({
    hostname: "127.0.0.1",
    port,
    tls: { ca: [root.cert], serverName: name },
    socket: {
      data(socket) {
        resolve(socket.getSession() as unknown as Uint8Array);
        socket.end();
      },
    },
  });
  return promise;
}
