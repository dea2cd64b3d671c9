/** Endpoints, operators and lists as ngrok's API shows them. */
import type { Context } from "hono";
import { refusal } from "./answers.ts";
import type { Faults } from "./faults.ts";
import type { Endpoint, Operator } from "./store.ts";

/** An endpoint; fields that its URL does not define are empty. */
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

/** `ingressEndpoint`: `host:port`, for an operator that has set none. */
export function operatorView(c: Context, operator: Operator, ingressEndpoint: string): object {
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
      ingress_endpoint: binding.ingressEndpoint ?? ingressEndpoint,
      cert: certificate && {
        cert: certificate.pem,
        not_before: certificate.notBefore.toISOString(),
        not_after: certificate.notAfter.toISOString(),
      },
    },
  };
}

export interface ListOptions {
  readonly faults: Faults;
  /** The length of a page, and the largest limit that a request may ask for. */
  readonly pageSize: number;
}

/**
 * One page of a list, newest items first as ngrok sorts them. `before_id` in
 * the request is the last item of the previous page. `field` names the list in
 * the JSON body.
 */
export function listPage<T extends { id: string }>(
  c: Context,
  { faults, pageSize }: ListOptions,
  field: "operators" | "endpoints",
  items: readonly T[],
  view: (item: T) => object,
): Response {
  const limit = Number(c.req.query("limit") ?? pageSize);
  if (!Number.isInteger(limit) || limit < 1 || limit > pageSize) {
    return refusal(
      400,
      "ERR_NGROK_244",
      `The page size limit must be a number between 1 and ${pageSize}.`,
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

const principal = { id: "usr_localcloud", uri: "" };

/** Absolute, with the address that the client has used. */
const uriOf = (c: Context, path: string): string => new URL(path, c.req.url).href;
