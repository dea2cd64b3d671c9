import { createHash } from "node:crypto";

/**
 * What the virtual machine's stories need beside ngrokd: a web page and an echo
 * behind the endpoints, and a server for install.sh.
 */
const page = Bun.serve({
  hostname: "127.0.0.1",
  port: 3000,
  fetch: (request) => new Response(`hello from ${request.headers.get("host")}\n`),
});

const releases = Bun.serve({
  hostname: "127.0.0.1",
  port: 8000,
  fetch: (request) => new Response(Bun.file(`/mnt/release${new URL(request.url).pathname}`)),
});

/**
 * Answers each line with its hash, so that a client knows whether all its bytes
 * have arrived, and that none of another connection has.
 */
const echo = Bun.listen<{ rest: string }>({
  hostname: "127.0.0.1",
  port: 7007,
  socket: {
    open(socket) {
      socket.data = { rest: "" };
    },
    data(socket, bytes) {
      const lines = (socket.data.rest + bytes.toString("latin1")).split("\n");
      socket.data.rest = lines.pop() ?? "";
      for (const line of lines)
        socket.write(`${createHash("sha256").update(line).digest("hex")}\n`);
    },
  },
});

console.log(`${page.url} ${releases.url} ${echo.port}`);
