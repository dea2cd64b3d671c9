/** The demo: local cloud, sample services and daemon in one process. */
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join, relative } from "node:path";
import { stringify } from "yaml";
import { inspectConfig, loadConfig } from "../config/load.ts";
import { type Daemon, startDaemon } from "../daemon/daemon.ts";
import { listReply } from "../desk/replies.ts";
import { type LocalCloud, startLocalCloud } from "../local-cloud/cloud.ts";
import { type Samples, startSamples } from "../local-cloud/samples.ts";
import { NgrokdError } from "../model/error.ts";
import { createLog, type DaemonLog } from "../observe/daemon-log.ts";
import { createLogQueue, lostText } from "../observe/log-queue.ts";
import { aborted, command, type Io } from "./command.ts";
import { listText } from "./list.ts";

export default command({
  name: "demo",
  description: "Try ngrokd: no account, no root, nothing left behind",
  args: {
    once: {
      type: "boolean",
      description: "Make the requests here, show their answers, and end (also: DEMO_ONCE=1)",
    },
  },
  examples: ["ngrokd demo", "ngrokd demo --once"],
  async run(args, io) {
    const { stop } = io;
    const once = args.once === true || (io.env.DEMO_ONCE ?? "") !== "";
    const folder = await mkdtemp(join(tmpdir(), "ngrokd-demo-"));
    const undo: (() => Promise<unknown>)[] = [() => rm(folder, { recursive: true, force: true })];
    try {
      const stage = await setUp(folder, io, undo, args.debug === true);
      io.say.note(introduction(stage, io));
      if (once) await visit(stage, io);
      else await aborted(stop);
    } finally {
      for (const step of undo.reverse()) await step();
    }
    io.say.note(`\nThe demo has ended; "${folder}" is removed, and nothing else was changed.`);
    return undefined;
  },
});

interface Stage {
  readonly folder: string;
  readonly samples: Samples;
  readonly cloud: LocalCloud;
  readonly daemon: Daemon;
  readonly hostsPath: string;
  readonly socketPath: string;
}

const helloUrl = "http://hello.demo:8080";
const echoUrl = "tcp://echo.demo:7000";

async function setUp(
  folder: string,
  { net, env }: Io,
  undo: (() => Promise<unknown>)[],
  debug: boolean,
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

  const source = { file, env: { PATH: env.PATH, NGROKD_HOSTS_PATH: hostsPath } };
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

function introduction(stage: Stage, { say, env }: Io): string {
  const { bold, dim } = say.paint;
  const { samples, cloud, daemon, hostsPath, socketPath } = stage;
  const hello = addressOf(stage, helloUrl);
  const echo = addressOf(stage, echoUrl);
  const self = ownCommand(env);
  const step = (text: string): string => `  ${dim("$")} ${text}`;
  return [
    bold("A stand-in for ngrok, two services and the ngrokd daemon run in this process."),
    `The daemon has registered at ${cloud.apiUrl}, and carries connections`,
    `over mutual TLS to ${cloud.ingressAddress}:`,
    "",
    listText(listReply(daemon.state()), say.paint, say.width),
    "",
    bold("Try, in another terminal:"),
    step(`curl --resolve hello.demo:8080:${hello.ip} ${helloUrl}/`),
    step(`nc ${echo.ip} ${echo.port}   # says hello first, then echoes`),
    step(`${self} list --socket ${socketPath}`),
    step(`${self} status --socket ${socketPath}`),
    step(`${self} doctor --socket ${socketPath}`),
    step(`${self} why hello.demo --socket ${socketPath}`),
    step(`curl ${daemon.healthUrl ?? ""}status`),
    step(`cat ${hostsPath}   # the demo's own; \`ngrokd serve\` keeps /etc/hosts`),
    "",
    bold("To add an endpoint:"),
    step(`curl ${cloud.apiUrl}/_cloud/endpoints \\`),
    "      -H 'content-type: application/json' \\",
    `      -d '{"url": "http://more.demo:8080", "upstream": "${samples.http}"}'`,
    "",
    "Ctrl-C ends it.",
  ].join("\n");
}

/**
 * Makes the requests that the introduction proposes. Rejects with NgrokdError
 * `protocol` or `hosts` if an answer is wrong.
 */
async function visit(stage: Stage, { net, say }: Io): Promise<void> {
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
  say.ready(
    {
      http: { address: `${hello.ip}:${hello.port}`, answer: page },
      tcp: { address: `${echo.ip}:${echo.port}`, answer: heard },
      hosts,
    },
    () =>
      [
        section(`${say.paint.bold(helloUrl)} answered:`, page),
        section(`${say.paint.bold(echoUrl)} answered:`, heard),
        section(say.paint.bold("The hosts file:"), hosts),
      ].join("\n"),
  );
}

function addressOf({ daemon }: Stage, url: string): { ip: string; port: number } {
  const endpoint = daemon.state().endpoints.find((one) => one.url === url);
  if (endpoint?.state === "listening") return { ip: endpoint.ip, port: endpoint.port };
  const why = endpoint?.reason ?? daemon.state().reason;
  throw new NgrokdError("state", `The demo's endpoint "${url}" is not served: ${why}`, {
    hint: "`ngrokd demo --debug` shows more",
  });
}

/** The command that starts this program from the current folder. */
function ownCommand({ PATH = "" }: Io["env"]): string {
  const { execPath } = process;
  if (!basename(execPath).startsWith("ngrokd") || PATH.split(":").includes(dirname(execPath)))
    return "ngrokd";
  const path = relative(process.cwd(), execPath);
  if (path.startsWith("..")) return execPath;
  // A shell looks for a bare name in PATH and not here.
  return path.includes("/") ? path : `./${path}`;
}

const section = (title: string, text: string): string => `\n${title}\n${indent(text)}`;

const indent = (text: string): string => text.trimEnd().replaceAll(/^/gm, "  ");
