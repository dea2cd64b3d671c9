/** Endpoints, operators and lists as ngrok's API shows them. */
import type { Context } from "hono";
import { jsonOf } from "../cloud/refusal.ts";
import { refusal } from "./answers.ts";
import { parseCondition } from "./cel.ts";
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

/**
 * An endpoint as selectors see it: with the fields of the API, and with
 * metadata that is a JSON object as a map.
 */
export function selectedView(c: Context, endpoint: Endpoint): object {
  const map = objectIn(endpoint.metadata ?? "");
  return { ...endpointView(c, endpoint), ...(map === undefined ? {} : { metadata: map }) };
}

/** The JSON object of a text; undefined if it is not one. */
function objectIn(text: string): object | undefined {
  const json = jsonOf(text);
  return typeof json === "object" && json !== null && !Array.isArray(json) ? json : undefined;
}

/**
 * An operator. `ingressEndpoint`: `host:port`, for an operator without its own.
 * The binding of an operator without bindings is empty.
 */
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
    binding: {
      endpoint_selectors: binding?.endpointSelectors ?? [],
      ingress_endpoint: binding === undefined ? "" : (binding.ingressEndpoint ?? ingressEndpoint),
      cert: {
        cert: certificate?.pem ?? "",
        not_before: certificate?.notBefore.toISOString() ?? "",
        not_after: certificate?.notAfter.toISOString() ?? "",
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
 * the request is the last item of the previous page, and `filter` a condition
 * on each item, `obj`. `field` names the list in the JSON body.
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
  const filter = c.req.query("filter") ?? "";
  const chosen = parseCondition(filter === "" ? "true" : filter, "obj");
  if (!chosen.ok) return refusal(400, "ERR_NGROK_230", `The filter is invalid: ${chosen.reason}`);
  const before = c.req.query("before_id");
  const older = items
    .filter((item) => (before === undefined || item.id < before) && chosen.value(() => view(item)))
    .sort((a, b) => (a.id < b.id ? 1 : -1));
  const fault = faults.take(
    "short-page",
    "foreign-page",
    // A later page without items would only be a shorter list.
    ...(field === "endpoints" && before === undefined ? (["empty-list"] as const) : []),
  );
  const cut = {
    "short-page": Math.floor(Math.min(limit, older.length) / 2),
    "empty-list": 0,
    "foreign-page": limit,
  };
  const shown = older.slice(0, fault === undefined ? limit : cut[fault.name]);
  const uri = uriOf(c, c.req.path);
  const query = new URL(c.req.url).searchParams;
  query.set("before_id", shown.at(-1)?.id ?? "");
  query.set("limit", String(limit));
  const next = older.length > shown.length ? `${uri}?${query}` : null;
  const nextPageUri = fault === undefined ? next : (fault.value ?? null);
  return c.json({ [field]: shown.map(view), uri, next_page_uri: nextPageUri });
}

const principal = { id: "usr_localcloud", uri: "" };

/** Absolute, with the address that the client has used. */
const uriOf = (c: Context, path: string): string => new URL(path, c.req.url).href;
