import { z } from "zod";
import type { ApiEndpoint } from "../model/endpoint.ts";
import { hostPortText, parseHostPort } from "../model/host-port.ts";

/**
 * The body of a create request, as it is sent. Source: docs/protocol.md,
 * "ngrok's API".
 */
export interface OperatorRequest {
  /** At most 255 bytes. */
  readonly description: string;
  /** At most 4096 bytes; JSON by convention. */
  readonly metadata: string;
  readonly enabled_features: readonly "bindings"[];
  readonly region: string;
  readonly binding: {
    /** CEL expressions; `true` matches all endpoints. */
    readonly endpoint_selectors: readonly string[];
    /** PEM. */
    readonly csr: string;
  };
}

export type OperatorPatch = Partial<
  Omit<OperatorRequest, "binding"> & { readonly binding: Partial<OperatorRequest["binding"]> }
>;

/** One of ngrok's "Kubernetes operators", as far as it is used. */
export interface Operator {
  /** Passes {@link isOperatorId}. */
  readonly id: string;
  /** RFC 3339; "" if ngrok's answer has no time. */
  readonly createdAt: string;
  readonly description: string;
  readonly metadata: string;
  readonly selectors: readonly string[];
  /**
   * `host:port`, with port 443 if ngrok sent none. Undefined if it cannot be
   * dialled.
   */
  readonly ingressEndpoint: string | undefined;
  /**
   * Our certificate (or a chain, ours first), PEM. Undefined if the answer has
   * none.
   */
  readonly certPem: string | undefined;
}

/**
 * Letters, digits, `_` and `-`, at most 128 of them: fit for a path of a URL
 * and for a file.
 */
export const isOperatorId = (text: string): boolean => /^[A-Za-z0-9_-]{1,128}$/.test(text);

/**
 * Undefined if the answer is not an operator, that is, has no usable id. The
 * rest is read leniently.
 */
export function operatorOf(json: unknown): Operator | undefined {
  const found = operatorShape.safeParse(json).data;
  if (found === undefined) return undefined;
  const { id, created_at: createdAt, description, metadata, binding } = found;
  return {
    id,
    createdAt,
    description,
    metadata,
    selectors: binding.endpoint_selectors,
    ingressEndpoint: ingressEndpointOf(binding.ingress_endpoint),
    certPem: binding.cert.cert.trim() === "" ? undefined : binding.cert.cert,
  };
}

/**
 * Never fails. An item that cannot be understood becomes an endpoint without id
 * and URL, which is then listed as bad. Long texts are cut.
 */
export function endpointOf(item: unknown): ApiEndpoint {
  const found = endpointShape.safeParse(item).data;
  if (found === undefined) return { id: "", url: "", proto: "" };
  const { id, url, public_url, proto, scheme } = found;
  return { id, url: url || public_url, proto: proto || scheme };
}

/** The id of an endpoint; empty if the item cannot be understood. */
export const endpointIdOf = (item: unknown): string => idShape.safeParse(item).data?.id ?? "";

/**
 * `host[:port]` as `host:port`, with the default port 443. Undefined if it
 * cannot be dialled.
 */
export function ingressEndpointOf(text: string): string | undefined {
  const address = parseHostPort(text.trim(), 443);
  return address.ok ? hostPortText(address.value) : undefined;
}

const text = z.string().catch("");
const shortText = (max: number) => text.transform((value) => value.slice(0, max));

/**
 * The URL's limit is above that of a URL parser, so a cut URL is still refused.
 */
const endpointShape = z.object({
  id: shortText(200),
  url: shortText(2100),
  public_url: shortText(2100),
  proto: shortText(40),
  scheme: shortText(40),
});
const idShape = endpointShape.pick({ id: true });

const noBinding = { endpoint_selectors: [], ingress_endpoint: "", cert: { cert: "" } };
const operatorShape = z.object({
  id: z.string().refine(isOperatorId),
  created_at: z.iso.datetime({ offset: true }).catch(""),
  description: text,
  metadata: text,
  binding: z
    .object({
      endpoint_selectors: z.array(z.string()).catch([]),
      ingress_endpoint: text,
      cert: z.object({ cert: text }).catch({ cert: "" }),
    })
    .catch(noBinding),
});
