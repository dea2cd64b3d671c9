import { isIP } from "node:net";
import { type Context, Hono } from "hono";
import { z } from "zod";
import type { Log } from "../model/log.ts";
import { quote } from "../model/parsed.ts";
import { noNumber, readBody, refusal } from "./answers.ts";
import { endpointView } from "./api-views.ts";
import { type Faults, faultTable, faultText, isFaultName, parseFault } from "./faults.ts";
import type { Endpoint, IngressRequest, Store } from "./store.ts";

export interface ControlOptions {
  readonly store: Store;
  readonly faults: Faults;
  /** The lifetime of client certificates that are signed from now on. */
  readonly lifetime: { clientLifetimeMs: number };
  /** Further fields of `GET /_cloud`. */
  readonly about: Readonly<Record<string, string>>;
  readonly log: Log;
}

/**
 * The local cloud's own API, in place of ngrok's dashboard. It needs no key,
 * and serves programs on this machine only.
 */
export function controlApi(options: ControlOptions): Hono {
  const { store, faults, lifetime, about } = options;
  const app = new Hono().basePath("/_cloud");
  app.use(fromThisMachine);

  app.get("/", (c) =>
    c.json({
      ...about,
      endpoints: store.endpoints.size,
      operators: store.operators.size,
      faults: faults.list().map(faultText),
    }),
  );

  app.put("/certificate-lifetime", async (c) => {
    const body = await readBody(c, z.strictObject({ seconds: z.int().min(1) }));
    if (body instanceof Response) return body;
    lifetime.clientLifetimeMs = body.seconds * 1000;
    return c.json(body);
  });

  app.get("/operators", (c) =>
    c.json({
      operators: [...store.operators.values()].map(({ id, description }) => ({ id, description })),
    }),
  );

  app.get("/requests", (c) => c.json({ requests: store.requests.map(requestView) }));

  addKeyRoutes(app, options);
  addEndpointRoutes(app, options);
  addFaultRoutes(app, options);
  app.notFound((c) =>
    refusal(404, noNumber, `The local cloud has nothing at ${c.req.method} ${c.req.path}.`),
  );
  return app;
}

function addKeyRoutes(app: Hono, { store, log }: ControlOptions): void {
  app.put("/keys/:key", async (c) => {
    const body = await readBody(c, z.strictObject({ account: z.string().min(1) }));
    if (body instanceof Response) return body;
    store.keys.set(c.req.param("key"), body.account);
    return c.json(body);
  });

  app.delete("/keys/:key", (c) => {
    if (!store.keys.delete(c.req.param("key")))
      return refusal(404, noNumber, "There is no such key.");
    log.info("An API key is revoked");
    return c.body(null, 204);
  });
}

function addEndpointRoutes(app: Hono, { store, log }: ControlOptions): void {
  app.get("/endpoints", (c) =>
    c.json({ endpoints: [...store.endpoints.values()].map((one) => view(c, one)) }),
  );

  app.post("/endpoints", async (c) => {
    const body = await readBody(c, endpointBody);
    if (body instanceof Response) return body;
    const added = store.addEndpoint(body);
    if (!added.ok) return refusal(400, noNumber, added.reason);
    log.info(`Added ${quote(added.value.url)}`, { endpoint: added.value.id });
    return c.json(view(c, added.value), 201);
  });

  app.patch("/endpoints/:id", async (c) => {
    const id = c.req.param("id");
    const body = await readBody(c, endpointBody.partial());
    if (body instanceof Response) return body;
    const changed = store.changeEndpoint(id, body);
    if (changed === undefined) return noEndpoint(id);
    if (!changed.ok) return refusal(400, noNumber, changed.reason);
    log.info(`Changed ${quote(changed.value.url)}`, { endpoint: id });
    return c.json(view(c, changed.value));
  });

  app.delete("/endpoints/:id", (c) => {
    const id = c.req.param("id");
    if (!store.removeEndpoint(id, c.req.query("lingers") === "true")) return noEndpoint(id);
    log.info(`Removed ${id}`, { endpoint: id });
    return c.body(null, 204);
  });
}

function addFaultRoutes(app: Hono, { faults }: ControlOptions): void {
  app.get("/faults", (c) => c.json({ faults: faults.list().map(faultText), known: faultTable }));

  app.post("/faults", async (c) => {
    const body = await readBody(c, z.strictObject({ fault: z.string() }));
    if (body instanceof Response) return body;
    const read = parseFault(body.fault);
    if (!read.ok) return refusal(400, noNumber, read.reason);
    faults.set(read.value.fault, read.value.times);
    return c.json({ faults: faults.list().map(faultText) }, 201);
  });

  app.delete("/faults/:name?", (c) => {
    const name = c.req.param("name");
    if (name !== undefined && !isFaultName(name))
      return refusal(404, noNumber, `There is no fault ${quote(name)}.`);
    faults.clear(name);
    return c.body(null, 204);
  });
}

const endpointBody = z.strictObject({
  url: z.string(),
  upstream: z.string(),
  bindings: z.array(z.enum(["public", "internal", "kubernetes"])).optional(),
  name: z.string().optional(),
  description: z.string().optional(),
  metadata: z.string().optional(),
  unchecked: z.boolean().optional(),
});

const view = (c: Context, endpoint: Endpoint): object => ({
  ...endpointView(c, endpoint),
  upstream: endpoint.upstream,
  lingers: endpoint.lingers,
});

/** Without an identity, nothing was said about it. */
const requestView = ({ operator, host, port, podIdentity }: IngressRequest): object => ({
  operator,
  host,
  port,
  identity: podIdentity ?? null,
});

const noEndpoint = (id: string): Response =>
  refusal(404, noNumber, `There is no endpoint ${quote(id)}.`);

/**
 * The listener is on loopback. This check also refuses web pages in a browser
 * on this machine: DNS rebinding, and requests of a script.
 */
async function fromThisMachine(
  c: Context,
  next: () => Promise<void>,
): Promise<Response | undefined> {
  const { hostname } = new URL(c.req.url);
  const byAddress = isIP(hostname.replaceAll(/[[\]]/g, "")) !== 0 || hostname === "localhost";
  if (!byAddress || c.req.header("origin") !== undefined) {
    return refusal(
      403,
      noNumber,
      "The local cloud's control API is for programs on this machine, not for web pages.",
    );
  }
  await next();
  return undefined;
}
