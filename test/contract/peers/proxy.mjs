/**
 * Real proxies for the contract suite, on Node.js alone: HTTP CONNECT by
 * node:http, SOCKS5 by hand from RFC 1928 and RFC 1929.
 */
import http from "node:http";
import net from "node:net";

/**
 * `names`: the addresses of host names, or the real place of a `host:port`.
 * `login`: the required `user:password`. `mode`:
 *
 * - "hang": never replies
 * - "close": ends instead of a reply
 * - "cut": ends after a good reply
 * - "503": refuses
 * - "drip": replies byte by byte
 * - "flood": a reply without end
 * - "joined": sends `extra` in one piece with the reply
 */
export async function startProxy({ kind, names = {}, login, mode, extra = "" }) {
  const state = { asked: [], clients: new Set() };
  const server =
    kind === "http"
      ? http.createServer()
      : net.createServer(
          { allowHalfOpen: true },
          (socket) => void socks(socket).catch(() => socket.destroy()),
        );
  server.on("connection", (socket) => {
    state.clients.add(socket);
    socket.on("error", () => socket.destroy()).on("close", () => state.clients.delete(socket));
  });

  const answer = async (socket, bytes) => {
    if (mode !== "drip")
      return socket.write(Buffer.concat([bytes, Buffer.from(mode === "joined" ? extra : "")]));
    for (const byte of bytes) {
      socket.write(Buffer.of(byte));
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  };

  const carry = async (socket, host, port, accepted, refused) => {
    if (mode === "hang") return void socket.resume();
    if (mode === "close") return socket.end();
    if (mode === "cut") return socket.resume().end(accepted);
    if (mode === "503") return socket.end(refused);
    if (mode === "flood")
      return void setInterval(() => socket.writable && socket.write("x".repeat(9000)), 5).unref();
    const [, to, toPort] = /^(.*):(\d+)$/.exec(names[`${host}:${port}`] ?? "") ?? [
      null,
      names[host] ?? host,
      port,
    ];
    const upstream = net.connect({ host: to, port: Number(toPort), allowHalfOpen: true });
    upstream.on("error", () =>
      upstream.connecting ? socket.end(refused) : socket.resetAndDestroy(),
    );
    socket.on("error", () => upstream.resetAndDestroy());
    upstream.once("connect", async () => {
      await answer(socket, accepted);
      socket.pipe(upstream);
      upstream.pipe(socket);
    });
  };

  server.on("connect", (request, socket) => {
    socket.allowHalfOpen = true;
    const basic = /^Basic (.*)$/.exec(request.headers["proxy-authorization"] ?? "")?.[1];
    const given = basic === undefined ? null : Buffer.from(basic, "base64").toString("utf8");
    state.asked.push({ target: request.url, login: given });
    if (login !== undefined && given !== login)
      return socket.end(
        'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="x"\r\n\r\n',
      );
    const [, host, port] = /^\[?([^\]]+)\]?:(\d+)$/.exec(request.url);
    void carry(
      socket,
      host,
      Number(port),
      Buffer.from("HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n"),
      "HTTP/1.1 503 Service Unavailable\r\n\r\n",
    );
  });

  async function socks(socket) {
    let waiting = Buffer.alloc(0);
    let wake = () => undefined;
    const onData = (bytes) => {
      waiting = Buffer.concat([waiting, bytes]);
      wake();
    };
    socket.on("data", onData);
    socket.on("end", () => wake()).on("close", () => wake());
    const take = async (size) => {
      while (waiting.length < size) {
        if (socket.readableEnded || socket.destroyed) throw new Error("the client has gone");
        await new Promise((resolve) => {
          wake = resolve;
        });
      }
      const bytes = waiting.subarray(0, size);
      waiting = waiting.subarray(size);
      return bytes;
    };
    const [version, count] = await take(2);
    if (version !== 5) return socket.destroy();
    const wanted = login === undefined ? 0 : 2;
    if (!(await take(count)).includes(wanted)) return socket.end(Buffer.of(5, 255));
    await answer(socket, Buffer.of(5, wanted));
    let given = null;
    if (wanted === 2) {
      const [, length] = await take(2);
      const name = await take(length);
      given = `${name}:${await take((await take(1))[0])}`;
      if (given !== login) return socket.end(Buffer.of(1, 1));
      await answer(socket, Buffer.of(1, 0));
    }
    const [, , , type] = await take(4);
    const bytes = await take(type === 3 ? (await take(1))[0] : type === 1 ? 4 : 16);
    const host =
      type === 3
        ? bytes.toString()
        : type === 1
          ? bytes.join(".")
          : bytes.toString("hex").match(/.{4}/g).join(":");
    const port = (await take(2)).readUInt16BE();
    state.asked.push({ target: `${host}:${port}`, login: given });
    socket.off("data", onData).pause();
    // A name as the bound address, which is the kind of answer whose length has to be read.
    await carry(
      socket,
      host,
      port,
      Buffer.from([5, 0, 0, 3, 4, ...Buffer.from("here"), 1, 2]),
      Buffer.of(5, 4, 0, 1, 0, 0, 0, 0, 0, 0),
    );
  }

  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return Object.assign(state, { port: server.address().port });
}
