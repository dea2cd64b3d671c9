import { setImmediate } from "node:timers/promises";
import { Hono } from "hono";
import { serve } from "srvx";
import { errnoOf, fileError } from "../files/atomic.ts";
import { NgrokdError } from "../model/error.ts";
import { contentType, exposition, type Family } from "./exposition.ts";
import { isOurs } from "./hosts.ts";
import { wholeRequest } from "./whole-request.ts";

/** The data of the health server. Each function is called for every request. */
export interface HealthSource {
  /** Whether the process makes progress, and the reason if it does not. */
  live(): { ok: boolean; reason: string };
  /** If it is ready, the reason is a warning. */
  ready(): { ok: boolean; reason: string };
  /**
   * The body of /status: the fields of docs/protocol.md, "The health server",
   * and more.
   */
  status(): unknown;
  /** The metrics of /metrics. */
  metrics(): Promise<readonly Family[]>;
  /** The names under which it may be asked. */
  hosts(): readonly string[];
}

/**
 * Starts the HTTP server of docs/protocol.md, "The health server". Rejects with
 * `address-in-use` if another program has the port, or with the error of the
 * system.
 */
export async function startHealthServer(
  address: { host: string; port: number },
  source: HealthSource,
): Promise<{ url: string; close(): Promise<void> }> {
  const app = healthApp(source);
  const server = serve({
    fetch: (request) => app.fetch(wholeRequest(request)),
    hostname: address.host,
    port: address.port,
    silent: true,
    manual: true,
    gracefulShutdown: false,
  });
  try {
    await server.serve();
    await server.ready();
  } catch (error) {
    const action = `Cannot listen on "${address.host}:${address.port}" for health checks`;
    if (errnoOf(error) !== "EADDRINUSE") throw fileError(action, error);
    throw new NgrokdError("address-in-use", `${action}: another program listens there`, {
      cause: error,
    });
  }
  return {
    url: server.url ?? `http://${address.host}:${address.port}/`,
    close: () => server.close(true),
  };
}

function healthApp(source: HealthSource): Hono {
  const app = new Hono();
  app.use(async (context, next) => {
    if (isOurs(context.req.header("host"), source.hosts())) return await next();
    return context.text(strangerText, 403);
  });
  const answer =
    (good: string, ask: () => { ok: boolean; reason: string }) =>
    (context: { text(body: string, status: 200 | 503): Response }): Response => {
      const { ok, reason } = ask();
      if (ok)
        return context.text(reason === "" ? `${good}\n` : `${good}\nwarning: ${reason}\n`, 200);
      return context.text(`${reason}\n`, 503);
    };
  for (const path of ["/health", "/healthz"]) app.get(path, answer("ok", source.live));
  for (const path of ["/ready", "/readyz"]) app.get(path, answer("ready", source.ready));
  app.get("/status", (context) => context.json(source.status() as object));
  app.get(
    "/metrics",
    async () =>
      new Response(streamed(exposition(await source.metrics())), {
        headers: { "content-type": contentType },
      }),
  );
  app.notFound((context) =>
    context.text("not found; try /healthz, /readyz, /status or /metrics\n", 404),
  );
  return app;
}

const strangerText =
  "this name is not known here; use an address, or add the name to `server.health_hosts`\n";

/**
 * A stream of pieces. Each is written when the reader asks for it, and after
 * other pending work.
 */
function streamed(pieces: Iterator<string>): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  return new ReadableStream({
    async pull(controller) {
      await setImmediate();
      const next = pieces.next();
      if (next.done) controller.close();
      else controller.enqueue(encoder.encode(next.value));
    },
  });
}
