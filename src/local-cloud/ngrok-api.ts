import { type Context, Hono } from "hono";
import { z } from "zod";
import type { Log } from "../model/log.ts";
import { quote } from "../model/parsed.ts";
import { noNumber, readBody, refusal } from "./answers.ts";
import { misbehaving } from "./api-faults.ts";
import type { Ca } from "./ca.ts";
import type { Faults } from "./faults.ts";
import { type Endpoint, newId, type Operator, type OperatorBinding, type Store } from "./store.ts";

export interface ApiOptions {
  readonly store: Store;
  readonly ca: Ca;
  readonly faults: Faults;
  /** `host:port`, what operators' answers name. */
  readonly ingressEndpoint: string;
  /** The length of a list's page unless the request wants a shorter one. */
  readonly pageSize: number;
  readonly log: Log;
  /** Ends what is late on purpose. */
  readonly stop: AbortSignal;
}

/**
 * ngrok's REST API as far as docs/protocol.md, "ngrok's API", goes, over what
 * `store` holds.
 */
export function ngrokApi(options: ApiOptions): Hono {
  const { store, faults, log } = options;
  const { operators, endpoints } = store;
  const app = new Hono();
  app.use(misbehaving(faults, options.stop), authorized(store.keys));

  app.post("/kubernetes_operators", async (c) => {
    const body = await readBody(c, operatorBody);
    if (body instanceof Response) return body;
    const id = newId("k8sop");
    const {
      enabled_features: enabledFeatures = [],
      description = "",
      metadata = "",
      region = "global",
      deployment = {},
    } = body;
    if (enabledFeatures.includes("bindings") && body.binding?.csr === undefined)
      return notValid("the bindings feature needs a binding with a CSR");
    const certificate = await certify(id, body.binding?.csr);
    if (certificate instanceof Response) return certificate;
    const createdAt = new Date().toISOString();
    const account = accountOf(c) ?? "";
    const binding = changedBinding(undefined, body.binding, certificate);
    operators.set(id, {
      id,
      account,
      createdAt,
      updatedAt: createdAt,
      description,
      metadata,
      enabledFeatures,
      region,
      deployment,
      binding,
    });
    log.info(`The operator ${id} has registered`, { operator: id });
    if (binding?.endpointSelectors.some((selector) => selector !== "true")) {
      log.warn(
        `The operator ${id} selects endpoints by an expression, which the local cloud does not evaluate: it is shown all of them`,
        {
          operator: id,
        },
      );
    }
    return c.json(show(c, id), 201);
  });

  app.get("/kubernetes_operators", (c) =>
    page(
      c,
      "operators",
      [...operators.values()].filter(({ account }) => account === accountOf(c)),
      (one) => operatorView(c, one),
    ),
  );

  app.get("/kubernetes_operators/:id", (c) => {
    const id = c.req.param("id");
    return mine(c, id) === undefined ? noOperator(id) : c.json(show(c, id));
  });

  app.patch("/kubernetes_operators/:id", async (c) => {
    const id = c.req.param("id");
    const body = await readBody(c, operatorBody);
    if (body instanceof Response) return body;
    const certificate = await certify(id, body.binding?.csr);
    if (certificate instanceof Response) return certificate;
    const old = mine(c, id);
    if (old === undefined) return noOperator(id);
    const { enabled_features: enabledFeatures = old.enabledFeatures, binding, ...rest } = body;
    const changed = {
      ...old,
      ...rest,
      enabledFeatures,
      binding: changedBinding(old.binding, binding, certificate),
    };
    operators.set(id, { ...changed, updatedAt: new Date().toISOString() });
    if (certificate !== undefined)
      log.info(`The operator ${id} has a new certificate`, { operator: id });
    return c.json(show(c, id));
  });

  app.delete("/kubernetes_operators/:id", (c) => {
    const id = c.req.param("id");
    if (mine(c, id) === undefined) return noOperator(id);
    operators.delete(id);
    log.info(`The operator ${id} is deleted`, { operator: id });
    return c.body(null, 204);
  });

  app.get("/kubernetes_operators/:id/bound_endpoints", (c) => {
    const id = c.req.param("id");
    if (mine(c, id) === undefined) return noOperator(id);
    // Every operator sees them all: its selectors are kept and shown, but the
    // stand-in does not evaluate CEL.
    const bound = [...endpoints.values()].filter((endpoint) =>
      endpoint.bindings.includes("kubernetes"),
    );
    return page(c, "endpoints", bound, (one) => endpointView(c, one));
  });

  app.get("/endpoints", (c) =>
    page(
      c,
      "endpoints",
      [...endpoints.values()].filter(({ lingers }) => !lingers),
      (one) => endpointView(c, one),
    ),
  );

  app.notFound((c) =>
    refusal(404, noNumber, `The local cloud has nothing at ${c.req.method} ${c.req.path}.`),
  );
  app.onError((error) => {
    if (!options.stop.aborted) log.error(`The local cloud's API failed: ${error.message}`);
    return refusal(500, noNumber, error.message);
  });
  return app;

  function accountOf(c: Context): string | undefined {
    return store.keys.get(keyIn(c) ?? "");
  }

  /** The operator, if it is of the account that asks. */
  function mine(c: Context, id: string): Operator | undefined {
    const operator = operators.get(id);
    return operator?.account === accountOf(c) ? operator : undefined;
  }

  async function certify(id: string, csr: string | undefined) {
    if (csr === undefined) return undefined;
    const certificate = await options.ca.signClient(csr, id);
    return certificate.ok ? certificate.value : notValid(certificate.reason);
  }

  function show(c: Context, id: string): object {
    const operator = operators.get(id);
    return operator === undefined ? {} : operatorView(c, operator);
  }

  /**
   * Newest first, as ngrok lists; `before_id` is the last one of the page
   * before.
   */
  function page<T extends { id: string }>(
    c: Context,
    field: string,
    items: readonly T[],
    view: (item: T) => object,
  ): Response {
    const limit = Number(c.req.query("limit") ?? options.pageSize);
    if (!Number.isInteger(limit) || limit < 1 || limit > options.pageSize) {
      return refusal(
        400,
        "ERR_NGROK_244",
        `The page size limit must be a number between 1 and ${options.pageSize}.`,
      );
    }
    const before = c.req.query("before_id");
    const older = items
      .filter(({ id }) => before === undefined || id < before)
      .sort((a, b) => (a.id < b.id ? 1 : -1));
    const fault = faults.take(
      "short-page",
      "foreign-page",
      ...(field === "endpoints" ? (["empty-list"] as const) : []),
    );
    const cut = {
      "short-page": Math.floor(Math.min(limit, older.length) / 2),
      "empty-list": 0,
      "foreign-page": limit,
    };
    const shown = older.slice(0, fault === undefined ? limit : cut[fault.name]);
    const uri = uriOf(c, c.req.path);
    const next =
      older.length > shown.length ? `${uri}?before_id=${shown.at(-1)?.id}&limit=${limit}` : null;
    const nextPageUri = fault === undefined ? next : (fault.value ?? null);
    return c.json({ [field]: shown.map(view), uri, next_page_uri: nextPageUri });
  }

  function operatorView(c: Context, operator: Operator): object {
    const { id, description, metadata, region, deployment, binding } = operator;
    const certificate = binding?.certificates.at(-1);
    return {
      id,
      uri: uriOf(c, `/kubernetes_operators/${id}`),
      created_at: operator.createdAt,
      updated_at: operator.updatedAt,
      description,
      metadata,
      principal,
      enabled_features: operator.enabledFeatures,
      region,
      deployment,
      binding: binding && {
        endpoint_selectors: binding.endpointSelectors,
        ingress_endpoint: binding.ingressEndpoint ?? options.ingressEndpoint,
        cert: certificate && {
          cert: certificate.pem,
          not_before: certificate.notBefore.toISOString(),
          not_after: certificate.notAfter.toISOString(),
        },
      },
    };
  }
}

/** An endpoint as ngrok shows it; what its URL does not say is empty. */
export function endpointView(
  c: Context,
  { id, url, target, bindings, ...endpoint }: Endpoint,
): object {
  const { proto = "", host = "", port = 0, wildcard = false } = target ?? {};
  const name = `${wildcard ? "*." : ""}${host}`;
  return {
    id,
    uri: uriOf(c, `/endpoints/${id}`),
    url,
    public_url: url,
    proto,
    scheme: proto,
    host: name,
    port,
    hostport: target === undefined ? "" : `${name}:${port}`,
    type: "cloud",
    bindings,
    name: endpoint.name ?? "",
    description: endpoint.description ?? "",
    metadata: endpoint.metadata ?? "",
    region: "global",
    pooling_enabled: true,
    principal,
    created_at: endpoint.createdAt,
    updated_at: endpoint.updatedAt,
  };
}

const principal = { id: "usr_localcloud", uri: "" };

const bytes = (max: number) =>
  z.string().refine((text) => Buffer.byteLength(text) <= max, `it is longer than ${max} bytes`);

const operatorBody = z.strictObject({
  description: bytes(255).optional(),
  metadata: bytes(4096).optional(),
  enabled_features: z
    .array(
      z
        .string()
        .toLowerCase()
        .pipe(z.enum(["bindings", "ingress", "gateway"])),
    )
    .optional(),
  region: z.string().optional(),
  deployment: z
    .strictObject({
      name: z.string(),
      namespace: z.string(),
      version: z.string(),
      cluster_name: z.string(),
    })
    .partial()
    .optional(),
  binding: z
    .strictObject({
      endpoint_selectors: z.array(z.string()),
      csr: z.string(),
      ingress_endpoint: z.string(),
    })
    .partial()
    .optional(),
});

type BindingBody = z.output<typeof operatorBody>["binding"];

function changedBinding(
  old: OperatorBinding | undefined,
  body: BindingBody,
  certificate: OperatorBinding["certificates"][number] | undefined,
): OperatorBinding | undefined {
  if (body === undefined) return old;
  return {
    endpointSelectors: body.endpoint_selectors ?? old?.endpointSelectors ?? [],
    ingressEndpoint: body.ingress_endpoint ?? old?.ingressEndpoint,
    certificates: [
      ...(old?.certificates ?? []),
      ...(certificate === undefined ? [] : [certificate]),
    ],
  };
}

/** Undefined where the header is none that can hold a key. */
const keyIn = (c: Context): string | undefined =>
  /^Bearer (\S+)$/i.exec(c.req.header("authorization") ?? "")?.[1];

function authorized(keys: ReadonlyMap<string, string>) {
  return async (c: Context, next: () => Promise<void>): Promise<Response | undefined> => {
    const header = c.req.header("authorization");
    if (header === undefined)
      return refusal(
        401,
        "ERR_NGROK_200",
        "The ngrok API requires that you set the Authorization header.",
      );
    const key = keyIn(c);
    if (key === undefined)
      return refusal(
        401,
        "ERR_NGROK_201",
        "The Authorization header is not of the form 'Bearer <api key>'.",
      );
    if (!keys.has(key)) {
      return refusal(
        401,
        "ERR_NGROK_203",
        "The API authentication you specified is properly formed, but it is invalid.",
      );
    }
    const version = c.req.header("ngrok-version");
    if (version === undefined)
      return refusal(
        400,
        "ERR_NGROK_218",
        "Your request has not specified an API version: set Ngrok-Version to 2.",
      );
    if (version !== "2")
      return refusal(
        400,
        "ERR_NGROK_217",
        `The provided API version ${quote(version)} is not supported; 2 is.`,
      );
    await next();
    return undefined;
  };
}

const notValid = (reason: string): Response =>
  refusal(400, "ERR_NGROK_19002", `Failed to validate Kubernetes Operator! Reason: ${reason}`);

const noOperator = (id: string): Response =>
  refusal(404, noNumber, `The Kubernetes Operator ${quote(id)} could not be found.`);

/** Absolute, at whatever address the client reached us. */
const uriOf = (c: Context, path: string): string => new URL(path, c.req.url).href;
