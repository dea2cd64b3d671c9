/** ngrok's API for operators: register, show, change, delete. */
import type { Context, Hono } from "hono";
import { z } from "zod";
import type { Log } from "../model/log.ts";
import { noResource, readBody, refusal } from "./answers.ts";
import {
  endpointView,
  type ListOptions,
  listPage,
  operatorView,
  selectedView,
} from "./api-views.ts";
import { accountOf } from "./authorization.ts";
import type { Ca, ClientCertificate } from "./ca.ts";
import { parseSelectors } from "./cel.ts";
import { newId, type Operator, type OperatorBinding, type Store } from "./store.ts";

export interface OperatorOptions extends ListOptions {
  readonly store: Store;
  readonly ca: Ca;
  /** `host:port`, the ingress of operators that set none themselves. */
  readonly ingressEndpoint: string;
  readonly log: Log;
}

const path = "/kubernetes_operators";

export function addOperatorRoutes(app: Hono, options: OperatorOptions): void {
  const { store, log } = options;
  const { operators, endpoints } = store;

  app.post(path, (c) => register(c, options));

  app.get(path, (c) => {
    const account = accountOf(c, store.keys);
    const ours = [...operators.values()].filter((one) => one.account === account);
    return listPage(c, options, "operators", ours, (one) =>
      operatorView(c, one, options.ingressEndpoint),
    );
  });

  app.get(`${path}/:id`, (c) => {
    const id = c.req.param("id");
    const operator = ownOperator(c, store, id);
    return operator === undefined ? noResource() : shown(c, options, operator);
  });

  app.patch(`${path}/:id`, (c) => change(c, options, c.req.param("id")));

  app.delete(`${path}/:id`, (c) => {
    const id = c.req.param("id");
    if (ownOperator(c, store, id) === undefined) return noResource();
    operators.delete(id);
    log.info(`The operator ${id} is deleted`, { operator: id });
    return c.body(null, 204);
  });

  app.get(`${path}/:id/bound_endpoints`, (c) => {
    const id = c.req.param("id");
    const operator = ownOperator(c, store, id);
    if (operator === undefined) return noResource();
    const chosen = parseSelectors(operator.binding?.endpointSelectors ?? []);
    if (!chosen.ok) return notSelecting(chosen.reason);
    const bound = [...endpoints.values()].filter(
      (one) => one.bindings.includes("kubernetes") && chosen.value(() => selectedView(c, one)),
    );
    return listPage(c, options, "endpoints", bound, (one) => endpointView(c, one));
  });
}

async function register(c: Context, options: OperatorOptions): Promise<Response> {
  const { store, log } = options;
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
  const certificate = await certify(options.ca, id, body.binding);
  if (certificate instanceof Response) return certificate;
  const createdAt = new Date().toISOString();
  const operator: Operator = {
    id,
    account: accountOf(c, store.keys) ?? "",
    createdAt,
    updatedAt: createdAt,
    description,
    metadata,
    enabledFeatures,
    region,
    deployment,
    binding: changedBinding(undefined, body.binding, certificate),
  };
  store.operators.set(id, operator);
  log.info(`The operator ${id} has registered`, { operator: id });
  return shown(c, options, operator, 201);
}

async function change(c: Context, options: OperatorOptions, id: string): Promise<Response> {
  const { store, log } = options;
  const body = await readBody(c, operatorBody);
  if (body instanceof Response) return body;
  const certificate = await certify(options.ca, id, body.binding);
  if (certificate instanceof Response) return certificate;
  const old = ownOperator(c, store, id);
  if (old === undefined) return noResource();
  const {
    enabled_features: enabledFeatures = old.enabledFeatures,
    binding,
    deployment,
    ...rest
  } = body;
  const operator: Operator = {
    ...old,
    ...rest,
    enabledFeatures,
    deployment: { ...old.deployment, ...deployment },
    binding: changedBinding(old.binding, binding, certificate),
    updatedAt: new Date().toISOString(),
  };
  store.operators.set(id, operator);
  if (certificate !== undefined)
    log.info(`The operator ${id} has a new certificate`, { operator: id });
  return shown(c, options, operator);
}

/** The operator, if it belongs to the account of the request's key. */
function ownOperator(c: Context, store: Store, id: string): Operator | undefined {
  const operator = store.operators.get(id);
  return operator?.account === accountOf(c, store.keys) ? operator : undefined;
}

/**
 * Checks the selectors of a binding, and signs its CSR; undefined without a
 * CSR.
 */
async function certify(
  ca: Ca,
  id: string,
  binding: BindingBody,
): Promise<ClientCertificate | Response | undefined> {
  const selectors = parseSelectors(binding?.endpoint_selectors ?? []);
  if (!selectors.ok) return notSelecting(selectors.reason);
  if (binding?.csr === undefined) return undefined;
  const certificate = await ca.signClient(binding.csr, id);
  return certificate.ok ? certificate.value : notSigned(certificate.reason);
}

const shown = (
  c: Context,
  { ingressEndpoint }: OperatorOptions,
  operator: Operator,
  status: 200 | 201 = 200,
): Response => c.json(operatorView(c, operator, ingressEndpoint), status);

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

const notValid = (reason: string): Response =>
  refusal(400, "ERR_NGROK_19002", `Failed to validate Kubernetes Operator! Reason: ${reason}`);

const notSigned = (reason: string): Response =>
  refusal(400, "ERR_NGROK_19001", `Certificate Signing Requests Failed! Reason: ${reason}`);

const notSelecting = (reason: string): Response =>
  refusal(400, "ERR_NGROK_19003", `Failed to validate endpoint selectors! Reason: ${reason}`);
