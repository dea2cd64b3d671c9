// The demo: local cloud, sample services and daemon in one process, in a folder
// of its own.
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { stringify } from "yaml";
import { inspectConfig, loadConfig } from "../config/load.ts";
import { type Daemon, startDaemon } from "../daemon/daemon.ts";
import { type LocalCloud, startLocalCloud } from "../local-cloud/cloud.ts";
import { type Samples, startSamples } from "../local-cloud/samples.ts";
import { NgrokdError } from "../model/error.ts";
import type { Net } from "../net/types.ts";
import { createLog, type DaemonLog } from "../observe/daemon-log.ts";
import { createLogQueue, lostText } from "../observe/log-queue.ts";

export interface StageOptions {
  readonly net: Net;
  /** The PATH of the daemon. */
  readonly path: string | undefined;
  readonly debug: boolean;
}

export interface Stage {
  readonly folder: string;
  readonly samples: Samples;
  readonly cloud: LocalCloud;
  readonly daemon: Daemon;
  readonly hostsPath: string;
  readonly socketPath: string;
}

export const helloUrl = "http://hello.demo:8080";
export const echoUrl = "tcp://echo.demo:7000";

/**
 * Runs `scene` while everything is set up. At its end, and after a failure, all
 * is stopped and removed. Returns the folder, which is gone then.
 */
export async function onStage(
  options: StageOptions,
  scene: (stage: Stage) => Promise<void>,
): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "ngrokd-demo-"));
  const undo: (() => Promise<unknown>)[] = [() => rm(folder, { recursive: true, force: true })];
  try {
    await scene(await setUp(folder, options, undo));
  } finally {
    for (const step of undo.reverse()) await step();
  }
  return folder;
}

async function setUp(
  folder: string,
  { net, path, debug }: StageOptions,
  undo: (() => Promise<unknown>)[],
): Promise<Stage> {
  await chmod(folder, 0o700);
  const samples = await startSamples(net);
  undo.push(async () => samples.close());
  const cloud = await startLocalCloud({
    net,
    api: { host: "127.0.0.1", port: 0 },
    ingress: { host: "127.0.0.1", port: 0 },
    endpoints: [
      { url: helloUrl, upstream: samples.http },
      { url: echoUrl, upstream: samples.tcp },
    ],
  });
  undo.push(cloud.close);

  const hostsPath = join(folder, "hosts");
  const socketPath = join(folder, "ngrokd.sock");
  const caPath = join(folder, "local-cloud-ca.crt");
  await writeFile(hostsPath, "127.0.0.1\tlocalhost\n");
  await writeFile(caPath, cloud.caPem);
  const file = join(folder, "config.yml");
  const config = {
    api: { url: cloud.apiUrl, key: cloud.apiKey },
    ingressEndpoint: cloud.ingressAddress,
    server: {
      socket_path: socketPath,
      client_cert: join(folder, "tls.crt"),
      client_key: join(folder, "tls.key"),
      health_port: "any",
      ingress_ca: caPath,
    },
    bound_endpoints: { poll_interval: 2 },
  };
  await writeFile(file, stringify(config), { mode: 0o600 });

  const source = { file, env: { PATH: path, NGROKD_HOSTS_PATH: hostsPath } };
  const loaded = await loadConfig(source);
  const log: DaemonLog = createLog({
    level: debug ? "debug" : "warn",
    format: "text",
    isTerminal: process.stderr.isTTY === true,
    write: createLogQueue(process.stderr, (lines) => log.warn(lostText(lines))),
    secrets: () => [],
  });
  const daemon = await startDaemon({
    net,
    loaded,
    read: () => inspectConfig(source),
    log,
    keepSecret: () => {},
  });
  undo.push(() => daemon.stop(AbortSignal.timeout(2000)));
  await daemon.refresh();
  return { folder, samples, cloud, daemon, hostsPath, socketPath };
}

export interface Visit {
  readonly http: { readonly address: string; readonly answer: string };
  readonly tcp: { readonly address: string; readonly answer: string };
  /** The text of the hosts file. */
  readonly hosts: string;
}

/**
 * Makes the requests that the demo proposes. Rejects with NgrokdError
 * `protocol` or `hosts` if an answer is wrong.
 */
export async function visit(stage: Stage, net: Net): Promise<Visit> {
  const hello = addressOf(stage, helloUrl);
  const page = await (
    await fetch(`http://${hello.ip}:${hello.port}/`, {
      headers: { host: "hello.demo:8080", connection: "close" },
    })
  ).text();
  if (!page.includes("hello"))
    throw new NgrokdError(
      "protocol",
      `The sample page is wrong: ${JSON.stringify(page.slice(0, 200))}`,
    );

  const echo = addressOf(stage, echoUrl);
  const conn = await net.dial(
    { host: echo.ip, port: echo.port },
    { signal: AbortSignal.timeout(10_000) },
  );
  await conn.write(new TextEncoder().encode("one, two, three\n"));
  conn.closeWrite();
  let heard = "";
  const decoder = new TextDecoder();
  for (let bytes = await conn.read(); bytes !== null; bytes = await conn.read())
    heard += decoder.decode(bytes, { stream: true });
  conn.close();
  if (!heard.endsWith("one, two, three\n"))
    throw new NgrokdError("protocol", `The echo is wrong: ${JSON.stringify(heard.slice(0, 200))}`);

  const hosts = await readFile(stage.hostsPath, "utf8");
  if (!hosts.includes(`${hello.ip}\thello.demo`))
    throw new NgrokdError("hosts", "The hosts file does not have the name hello.demo");
  return {
    http: { address: `${hello.ip}:${hello.port}`, answer: page },
    tcp: { address: `${echo.ip}:${echo.port}`, answer: heard },
    hosts,
  };
}

export function addressOf({ daemon }: Stage, url: string): { ip: string; port: number } {
  const endpoint = daemon.state().endpoints.find((one) => one.url === url);
  if (endpoint?.state === "listening") return { ip: endpoint.ip, port: endpoint.port };
  const why = endpoint?.reason ?? daemon.state().reason;
  throw new NgrokdError("state", `The demo's endpoint "${url}" is not served: ${why}`, {
    hint: "`ngrokd demo --debug` shows more",
  });
}
