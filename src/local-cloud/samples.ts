import { Hono } from "hono";
import { serve } from "srvx";
import type { Conn, Net } from "../net/types.ts";
import { wholeRequest } from "../observe/whole-request.ts";

/** Two small services behind endpoints, for the demo and for first trials. */
export interface Samples {
  /** `host:port` of a web server that shows the request. */
  readonly http: string;
  /** `host:port` of a TCP server that sends a greeting, then echoes. */
  readonly tcp: string;
  readonly close: () => Promise<void>;
}

export async function startSamples(net: Net): Promise<Samples> {
  const app = page();
  const web = serve({
    fetch: (request) => app.fetch(wholeRequest(request)),
    hostname: "127.0.0.1",
    port: 0,
    silent: true,
    gracefulShutdown: false,
  });
  await web.ready();
  const echo = await net.listen({ host: "127.0.0.1", port: 0 }, greetAndEcho);
  const port = "port" in echo.address ? echo.address.port : 0;
  return {
    http: new URL(web.url ?? "").host,
    tcp: `127.0.0.1:${port}`,
    async close() {
      echo.close();
      await web.close(true);
    },
  };
}

function page(): Hono {
  const app = new Hono();
  app.all("*", (context) => {
    const { method, path } = context.req;
    return context.text(
      `hello from behind ngrok's ingress\nyou asked: ${method} ${path}\nof the host: ${context.req.header("host") ?? "(none)"}\n`,
    );
  });
  return app;
}

async function greetAndEcho(conn: Conn): Promise<void> {
  await conn.write(new TextEncoder().encode("hello, I speak first; now you\n"));
  for (let bytes = await conn.read(); bytes !== null; bytes = await conn.read())
    await conn.write(bytes);
  conn.close();
}
