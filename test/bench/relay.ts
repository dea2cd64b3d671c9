import { mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { askDaemon } from "../../src/control/client.ts";
import { listSchema, type Status, statusSchema } from "../../src/desk/reply-schemas.ts";
import { isNgrokdError } from "../../src/model/error.ts";
import { createBunNet } from "../../src/net/bun.ts";
import { apiKey } from "./cloud.ts";
import { start, until } from "./processes.ts";

const bunNet = createBunNet();

export interface RelayOptions {
  /** The URL of the API. */
  readonly url: string;
  readonly ingressPort: number;
  /** The accounts of further profiles. */
  readonly others?: readonly Pick<RelayOptions, "url" | "ingressPort">[];
  /**
   * Groups of the configuration in addition to those of the benchmark. All
   * others have their defaults.
   */
  readonly settings?: { readonly [group: string]: object };
  /** Called when its process has started. */
  readonly started?: (pid: number) => void;
  /** Nothing is asked of it before this settles: an answer takes its time. */
  readonly quietUntil?: Promise<unknown> | undefined;
}

/**
 * ngrokd: the compiled binary's daemon, registered, with listening endpoints.
 */
export interface Relay {
  readonly pid: number;
  /** `address:port` of its first endpoint. */
  readonly target: string;
  /** `address:port` of the same endpoint for other machines. */
  readonly shared: string;
  /** From the start of the process until all endpoints listen. */
  readonly startSeconds: number;
  status(): Promise<Status>;
  /** Runs a pass now. Settles at its end. */
  refresh(): Promise<void>;
  /**
   * The stamps of its files now. If two texts are equal, nothing was written
   * between them.
   */
  files(): string;
  stop(): Promise<void>;
}

let started = 0;

export async function startRelay(
  folder: string,
  binary: string,
  { url, ingressPort, others = [], settings = {}, started: onStart, quietUntil }: RelayOptions,
): Promise<Relay> {
  started += 1;
  const home = join(folder, `ngrokd-${started}`);
  mkdirSync(home);
  const socket = join(home, "socket");
  const hosts = join(home, "hosts");
  writeFileSync(hosts, "127.0.0.1 localhost\n");
  const { bound_endpoints = {} } = settings;
  const profiles = others.map((one, i) => {
    const api = { url: one.url, key: apiKey };
    const ingressEndpoint = `127.0.0.1:${one.ingressPort}`;
    return [`p${i + 1}`, { api, ingressEndpoint, bound_endpoints }];
  });
  const config = {
    ...settings,
    ...(profiles.length > 0 && { profiles: Object.fromEntries(profiles) }),
    api: { url, key: apiKey },
    ingressEndpoint: `127.0.0.1:${ingressPort}`,
    server: {
      socket_path: socket,
      client_cert: join(home, "tls.crt"),
      client_key: join(home, "tls.key"),
      health_port: "any",
      ingress_ca: join(folder, "ca.pem"),
      log_level: "warn",
    },
    // A separate range, so that two daemons do not try each other's addresses.
    net: { subnet: `127.${60 + (started % 100)}.0.0/16`, ...settings.net },
  };
  // JSON is valid YAML.
  writeFileSync(join(home, "config.yml"), JSON.stringify(config), { mode: 0o600 });
  const begun = performance.now();
  const running = start(
    folder,
    `ngrokd-${started}`,
    [binary, "serve", "--config", join(home, "config.yml")],
    { NGROKD_HOSTS_PATH: hosts },
  );
  onStart?.(running.pid);
  const ask = (command: string): Promise<unknown> => askDaemon(bunNet, socket, { command });
  const status = async (): Promise<Status> => statusSchema.parse(await ask("status"));
  await quietUntil;
  await until(`ngrokd-${started} serves`, async () => {
    const seen = await status().catch((error) => {
      if (!isNgrokdError(error, "not-running")) throw error;
      return undefined;
    });
    if (seen?.phase !== "serving") return false;
    const { listening, wildcard = 0 } = seen.endpoints;
    return listening + wildcard === seen.endpoint_count;
  });
  const startSeconds = (performance.now() - begun) / 1000;
  const first = listSchema.parse(await ask("list")).find(({ ip }) => ip !== "");
  return {
    pid: running.pid,
    target: `${first?.ip}:${first?.port}`,
    shared: `${first?.listen_interface}:${first?.network_port}`,
    startSeconds,
    status,
    async refresh() {
      await ask("refresh");
    },
    files: () =>
      readdirSync(home)
        .map((name) => ({ name, ...statSync(join(home, name)) }))
        .map(({ name, ino, mtimeMs, size }) => `${name} ${ino} ${mtimeMs} ${size}`)
        .join("\n"),
    stop: running.stop,
  };
}
