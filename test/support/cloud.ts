import type { PodIdentity } from "../../src/ingress/frame.ts";
import {
  binary,
  type Daemon,
  type Running,
  type ServeOptions,
  serve,
  start,
  writeConfig,
} from "./ngrokd.ts";
import { until } from "./story.ts";

/** The stand-in for ngrok, `ngrokd cloud`, as a separate process. */
export interface Cloud extends Running {
  readonly apiUrl: string;
  /** `host:port` */
  readonly ingress: string;
  readonly apiKey: string;
  /** PEM. */
  readonly caFile: string;
  /** Returns the endpoint's id. */
  add(url: string, upstream: string, more?: object): Promise<string>;
  change(id: string, changes: { url?: string; upstream?: string }): Promise<void>;
  /**
   * With `lingers` the endpoint stays in the list of bound endpoints. ngrok's
   * list lags behind deletions in the same way.
   */
  remove(id: string, how?: "lingers"): Promise<void>;
  /** Sets a fault in the spelling of `ngrokd cloud --fault`: `429=2*3`. */
  break(fault: string): Promise<void>;
  /** Clears one fault, or all. */
  mend(name?: string): Promise<void>;
  /** The current faults, in the same spelling. */
  faults(): Promise<string[]>;
  /** The last requests to its ingress, the oldest first. */
  requests(): Promise<{ host: string; port: number; identity: PodIdentity | null }[]>;
  operators(): Promise<{ id: string }[]>;
  /** The lifetime in seconds of client certificates signed from now on. */
  certificateLife(seconds: number): Promise<void>;
  /** The account's API key; undefined revokes it. */
  key(key: string, account: string | undefined): Promise<void>;
  /** A call of ngrok's own API, with the key. */
  // biome-ignore lint/suspicious/noExplicitAny: any reply of the API, which the story then checks
  api(method: string, path: string, body?: object): Promise<any>;
}

export interface CloudOptions {
  /** Words after `ngrokd cloud --json`. */
  readonly args?: string;
  /**
   * The API's port, for a cloud that comes back at the same place. Default: any
   * free port.
   */
  readonly apiPort?: number;
}

let clouds = 0;

export async function startCloud({ args = "", apiPort = 0 }: CloudOptions = {}): Promise<Cloud> {
  clouds += 1;
  const caFile = `/run/cloud-${clouds}-ca.crt`;
  const words = `cloud --json --api-port ${apiPort} --ingress-port 0 --ca-file ${caFile} ${args}`
    .split(" ")
    .filter((word) => word !== "");
  const running = start("the local cloud", [binary(), ...words]);
  const ready = await until("the local cloud is ready", () => JSON.parse(running.out()));
  const { apiUrl, ingress, apiKey } = ready;
  const control = async (method: string, path: string, body?: object) =>
    await call(method, `${apiUrl}/_cloud${path}`, {}, body);
  return {
    ...running,
    apiUrl,
    ingress,
    apiKey,
    caFile,
    add: async (url, upstream, more = {}) =>
      (await control("POST", "/endpoints", { url, upstream, ...more })).id,
    change: async (id, changes) => void (await control("PATCH", `/endpoints/${id}`, changes)),
    remove: async (id, how) =>
      void (await control("DELETE", `/endpoints/${id}${how === undefined ? "" : "?lingers=true"}`)),
    break: async (fault) => void (await control("POST", "/faults", { fault })),
    mend: async (name) =>
      void (await control("DELETE", name === undefined ? "/faults" : `/faults/${name}`)),
    faults: async () => (await control("GET", "/faults")).faults,
    requests: async () => (await control("GET", "/requests")).requests,
    operators: async () => (await control("GET", "/operators")).operators,
    certificateLife: async (seconds) =>
      void (await control("PUT", "/certificate-lifetime", { seconds })),
    key: async (key, account) =>
      void (await (account === undefined
        ? control("DELETE", `/keys/${key}`)
        : control("PUT", `/keys/${key}`, { account }))),
    api: async (method, path, body) =>
      await call(
        method,
        `${apiUrl}${path}`,
        { authorization: `Bearer ${apiKey}`, "ngrok-version": "2" },
        body,
      ),
  };
}

/** A configuration with this cloud's addresses and key, and a poll a second. */
export function configFor(
  cloud: Cloud,
  changes: { server?: object; api?: object; [group: string]: unknown } = {},
): object {
  const { server, api, ...others } = changes;
  return {
    api: { url: cloud.apiUrl, key: cloud.apiKey, ...api },
    server: { ingress_ca: cloud.caFile, ...server },
    bound_endpoints: { poll_interval: 1 },
    ...others,
  };
}

/** A cloud, and a daemon at the default paths that has registered there. */
export async function registered(
  options: ServeOptions & { cloud?: CloudOptions; config?: Parameters<typeof configFor>[1] } = {},
): Promise<{ cloud: Cloud; daemon: Daemon }> {
  const cloud = await startCloud(options.cloud);
  writeConfig(configFor(cloud, options.config));
  const daemon = await serve(options);
  await until("the daemon serves", async () => (await daemon.status()).phase === "serving");
  return { cloud, daemon };
}

async function call(method: string, url: string, headers: Record<string, string>, body?: object) {
  const response = await fetch(url, {
    method,
    signal: AbortSignal.timeout(20_000),
    headers: { ...headers, ...(body === undefined ? {} : { "content-type": "application/json" }) },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`${method} ${url} answered ${response.status}: ${text}`);
  return text === "" ? undefined : JSON.parse(text);
}
