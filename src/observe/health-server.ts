import { Hono } from "hono";
import { isNgrokdError, NgrokdError, reasonOf } from "../model/error.ts";
import { type HostPort, hostPortText } from "../model/host-port.ts";
import type { Net } from "../net/types.ts";
import { contentType, exposition, type Family } from "./exposition.ts";
import { isOurs } from "./hosts.ts";
import { startHttpServer } from "./http-server.ts";
import { inPieces } from "./pieces.ts";

/** The data of the health server. Each function is called for every request. */
export interface HealthSource {
  /** Whether the process makes progress, and the reason if it does not. */
  live(): { ok: boolean; reason: string };
  /** If it is ready, the reason is a warning. */
  ready(): { ok: boolean; reason: string };
  /**
   * The body of /status in pieces: JSON with the fields of docs/protocol.md,
   * "The health server", and more.
   */
  status(): Iterable<string>;
  /** The metrics of /metrics. */
  metrics(): Promise<readonly Family[]>;
  /** The names under which it may be asked. */
  hosts(): readonly string[];
}

/** More than all monitors need, and few of the process's descriptors. */
const mostConnections = 32;
const quietMs = 30_000;

/**
 * Starts the HTTP server of docs/protocol.md, "The health server". Rejects with
 * `address-in-use` if another program has the port, or as {@link Net.listen}
 * does.
 */
export async function startHealthServer(
  net: Net,
  { host, port }: HostPort,
  source: HealthSource,
): Promise<{ url: string; close(): void; leave(): void }> {
  const app = healthApp(source);
  try {
    const server = await startHttpServer({
      net,
      address: { host: host === "localhost" ? "127.0.0.1" : host, port },
      answer: (request) => app.fetch(request),
      most: mostConnections,
      quietMs,
      maxBodyBytes: 0,
    });
    const { address, close, leave } = server;
    return { url: `http://${hostPortText(address)}/`, close, leave };
  } catch (error) {
    if (!isNgrokdError(error)) throw error;
    const inUse = error.code === "address-in-use";
    const reason = inUse ? "another program listens there" : reasonOf(error);
    const action = `Cannot listen on "${hostPortText({ host, port })}" for health checks`;
    throw new NgrokdError(error.code, `${action}: ${reason}`, { cause: error });
  }
}

function healthApp(source: HealthSource): Hono {
  const app = new Hono();
  app.use(async (context, next) => {
    if (isOurs(context.req.header("host"), source.hosts())) return await next();
    return plain(strangerText, 403);
  });
  const answer = (good: string, ask: () => { ok: boolean; reason: string }) => (): Response => {
    const { ok, reason } = ask();
    if (ok) return plain(reason === "" ? `${good}\n` : `${good}\nwarning: ${reason}\n`, 200);
    return plain(`${reason}\n`, 503);
  };
  for (const path of ["/health", "/healthz"]) app.get(path, answer("ok", source.live));
  for (const path of ["/ready", "/readyz"]) app.get(path, answer("ready", source.ready));
  app.get("/status", () => inPieces(source.status(), "application/json"));
  app.get("/metrics", async () => inPieces(exposition(await source.metrics()), contentType));
  app.notFound(() => plain("not found; try /healthz, /readyz, /status or /metrics\n", 404));
  return app;
}

/** With its length, since some monitors know no pieces (chunks). */
function plain(body: string, status: number): Response {
  const bytes = new TextEncoder().encode(body);
  return new Response(bytes, {
    status,
    headers: {
      "content-type": "text/plain; charset=utf-8",
      "content-length": String(bytes.length),
    },
  });
}

const strangerText =
  "this name is not known here; use an address, or add the name to `server.health_hosts`\n";
