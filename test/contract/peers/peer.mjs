/**
 * The other end of the contract suite's connections: real Node.js sockets in a
 * separate process. So code that is not ours judges our bytes on the wire. One
 * JSON object a line on stdin, one reply a line on stdout, in any order,
 * matched by `id`.
 */
import { createHash, randomBytes } from "node:crypto";
import net from "node:net";
import { createInterface } from "node:readline";
import tls from "node:tls";
import { startProxy } from "./proxy.mjs";

const sockets = [];
const servers = [];
const proxies = [];
const fronts = [];

const verbs = {
  /**
   * `tls`: options of tls.createServer. `greeting`: text sent on accept.
   * Returns the server's number and port.
   */
  async listen({ host = "127.0.0.1", path, tls: options, greeting }) {
    const state = { waiting: [], accepted: [], failures: [], secured: 0 };
    const taken = (socket) => {
      const socketNumber = adopt(socket, socket._parent ?? socket);
      if (greeting !== undefined) socket.write(greeting);
      const next = state.waiting.shift();
      if (next === undefined) state.accepted.push(socketNumber);
      else next(socketNumber);
    };
    const server =
      options === undefined
        ? net.createServer({ allowHalfOpen: true, pauseOnConnect: true }, taken)
        : tls.createServer({ allowHalfOpen: true, ...options }, (socket) => {
            state.secured++;
            taken(socket);
          });
    server.on("tlsClientError", (error) => state.failures.push(error.code));
    server.state = state;
    await new Promise((resolve, reject) =>
      server
        .once("error", reject)
        .listen(path === undefined ? { host, port: 0 } : { path }, resolve),
    );
    servers.push(server);
    return { server: servers.length - 1, port: server.address().port };
  },

  /** The number of the next accepted socket. */
  async accept({ server }) {
    const { accepted, waiting } = servers[server].state;
    return accepted.shift() ?? new Promise((resolve) => waiting.push(resolve));
  },

  /**
   * Options of startProxy in proxy.mjs. Returns the proxy's number and port.
   */
  async proxy(options) {
    proxies.push(await startProxy(options));
    return { proxy: proxies.length - 1, port: proxies.at(-1).port };
  },

  /** The requests to the proxy, each as {target, login}. */
  async asked({ proxy }) {
    return proxies[proxy].asked;
  },

  /** The number of open connections from a proxy's clients. */
  async clients({ proxy }) {
    return proxies[proxy].clients.size;
  },

  /** Forwards connections to `port`. Returns the front's number and port. */
  async front({ port }) {
    const state = { drop: undefined };
    const server = net.createServer({ allowHalfOpen: true }, (client) => {
      const behind = net.connect({ host: "127.0.0.1", port, allowHalfOpen: true });
      const held = [];
      client.on("error", () => behind.destroy()).pipe(behind);
      behind
        .on("error", () => client.destroy())
        .on("data", (bytes) => (state.drop === undefined ? client.write(bytes) : held.push(bytes)))
        .on("end", () => client.end(shortened(Buffer.concat(held), state.drop)));
    });
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    fronts.push(state);
    return { front: fronts.length - 1, port: server.address().port };
  },

  /**
   * From now on the front keeps what the server sends. At the server's end it
   * hands that on without the last `drop` bytes, or without the last TLS record
   * ("record"), and then a FIN.
   */
  async shorten({ front, drop }) {
    fronts[front].drop = drop;
  },

  /** The number of successful handshakes, and the codes of the failed ones. */
  async handshakes({ server }) {
    const { secured, failures } = servers[server].state;
    return { secured, failures };
  },

  async unlisten({ server }) {
    servers[server].close();
  },

  async connect({ host = "127.0.0.1", port, path, tls: options }) {
    const raw = net.connect({
      ...(path === undefined ? { host, port } : { path }),
      allowHalfOpen: true,
    });
    const socket = options === undefined ? raw : tls.connect({ ...options, socket: raw });
    const number = adopt(socket, raw);
    return new Promise((resolve, reject) => {
      socket
        .once(options === undefined ? "connect" : "secureConnect", () => resolve(number))
        .once("error", reject);
      raw.once("error", reject);
    });
  },

  /**
   * Sends `text`, or `size` random bytes. Returns their SHA-256 when the kernel
   * has all of them.
   */
  async send({ socket, text, size = 0 }) {
    const hash = createHash("sha256");
    const block = randomBytes(65_536);
    const send = (bytes) => {
      hash.update(bytes);
      return new Promise((resolve, reject) =>
        sockets[socket].stream.write(bytes, (error) => (error ? reject(error) : resolve())),
      );
    };
    if (text !== undefined) await send(Buffer.from(text));
    for (let left = size; left > 0; left -= block.length) {
      block.writeUInt32LE(left, 0);
      await send(Buffer.from(block.subarray(0, left)));
    }
    return hash.digest("hex");
  },

  /**
   * Sends a byte every few milliseconds until the connection ends. Returns at
   * once.
   */
  async chatter({ socket, every }) {
    const { stream } = sockets[socket];
    const timer = setInterval(
      () => (stream.writable ? stream.write(".") : clearInterval(timer)),
      every,
    );
    stream.once("close", () => clearInterval(timer));
    sockets[socket].chatter = timer;
  },

  async finish({ socket }) {
    clearInterval(sockets[socket].chatter);
    sockets[socket].stream.end();
  },

  async reset({ socket }) {
    sockets[socket].raw.resetAndDestroy();
  },

  async destroy({ socket }) {
    sockets[socket].stream.destroy();
  },

  /**
   * Reads until `size` more bytes have arrived or the connection has ended.
   * `pause`: milliseconds of rest after each chunk. Returns {length, sha256,
   * text (of short ones), ended: null | "fin" | an error's code}.
   */
  async receive({ socket, size = Number.POSITIVE_INFINITY, pause = 0 }) {
    const state = sockets[socket];
    state.pause = pause;
    await new Promise((resolve) => {
      state.check = () => {
        if (state.length < size && state.ended === null) return;
        state.check = undefined;
        state.stream.pause();
        resolve();
      };
      state.stream.resume();
      state.check();
    });
    const { length, hash, ended, texts } = state;
    Object.assign(state, { length: 0, hash: createHash("sha256"), texts: [] });
    return {
      length,
      sha256: hash.digest("hex"),
      text: Buffer.concat(texts).toString("latin1"),
      ended,
    };
  },

  /**
   * The number of bytes that the kernel has taken so far. With TLS, bytes of
   * the ciphertext.
   */
  async taken({ socket }) {
    return sockets[socket].raw.bytesWritten - sockets[socket].raw.writableLength;
  },

  /**
   * Reads until the other side has ended the connection. Returns "fin" or the
   * error's code.
   */
  async ended({ socket }) {
    return (await verbs.receive({ socket })).ended;
  },

  /** The name in the peer's certificate. */
  async peerName({ socket }) {
    return sockets[socket].stream.getPeerCertificate()?.subject?.CN ?? null;
  },

  /** The name that the client has asked for (SNI). */
  async askedFor({ socket }) {
    return sockets[socket].stream.servername || null;
  },
};

function adopt(stream, raw) {
  raw.setNoDelay?.(true);
  const state = {
    stream,
    raw,
    length: 0,
    hash: createHash("sha256"),
    texts: [],
    ended: null,
    pause: 0,
    check: undefined,
  };
  const ended = (how) => {
    state.ended ??= how;
    state.check?.();
  };
  stream.on("data", (bytes) => {
    state.length += bytes.length;
    state.hash.update(bytes);
    if (state.length <= 4096) state.texts.push(bytes);
    if (state.pause > 0) {
      stream.pause();
      setTimeout(() => state.check && stream.resume(), state.pause);
    }
    state.check?.();
  });
  stream.pause();
  stream.on("end", () => ended("fin"));
  stream.on("error", (error) => ended(error.code));
  stream.on("close", () => ended("closed"));
  if (raw !== stream) raw.on("error", (error) => ended(error.code));
  return sockets.push(state) - 1;
}

/** `bytes` begin at the border of a record. */
function shortened(bytes, drop = 0) {
  if (drop !== "record") return bytes.subarray(0, bytes.length - drop);
  let [last, at] = [0, 0];
  while (at < bytes.length) {
    last = at;
    at += 5 + bytes.readUInt16BE(at + 3);
  }
  return bytes.subarray(0, last);
}

process.on("uncaughtException", (error) => console.error("peer:", error));
for await (const line of createInterface({ input: process.stdin })) {
  const { id, verb, ...args } = JSON.parse(line);
  verbs[verb](args).then(
    (result) => console.log(JSON.stringify({ id, result: result ?? null })),
    (error) => console.log(JSON.stringify({ id, error: error.code ?? error.message })),
  );
}
process.exit(0);
