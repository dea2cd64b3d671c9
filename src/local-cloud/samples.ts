import { Hono } from "hono";
import { hostPortText } from "../model/host-port.ts";
import type { Conn, Net } from "../net/types.ts";
import { startHttpServer } from "../observe/http-server.ts";

/** Two small services behind endpoints, for the demo and for first trials. */
export interface Samples {
  /** `host:port` of a web server that shows the request. */
  readonly http: string;
  /** `host:port` of a TCP server that sends a greeting, then echoes. */
  readonly tcp: string;
  readonly close: () => void;
}

export async function startSamples(net: Net): Promise<Samples> {
  const app = page();
  const web = await startHttpServer({
    net,
    address: { host: "127.0.0.1", port: 0 },
    answer: (request) => app.fetch(request),
    most: 256,
    quietMs: 0,
    maxBodyBytes: 16 * 1024 * 1024,
  });
  const echo = await net.listen({ host: "127.0.0.1", port: 0 }, greetAndEcho);
  const port = "port" in echo.address ? echo.address.port : 0;
  return {
    http: hostPortText(web.address),
    tcp: `127.0.0.1:${port}`,
    close() {
      echo.close();
      web.close();
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
