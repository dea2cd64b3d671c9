import { existsSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { peerServerName } from "./cloud.ts";
import type { Program } from "./packages.ts";
import { freePort, outputOf, start, until } from "./processes.ts";
import type { Doors, Loop, Rig } from "./rig.ts";

/** A program that relays plain TCP to mutual TLS. */
export interface Peer extends Doors {
  readonly name: string;
}

interface Service {
  readonly port: number;
  readonly to: number;
}

interface Recipe {
  readonly program: Program;
  /** The configuration file's text; `folder` holds the certificates. */
  readonly config: (folder: string, services: readonly Service[]) => string;
  readonly command: (config: string) => readonly string[];
  readonly version: readonly string[];
}

/**
 * Each has one thread, verifies the certificate of the ingress, and shows our
 * own. All other settings are Debian's. stunnel has a thread for each
 * connection, so it is limited to one core.
 */
const recipes: readonly Recipe[] = [
  {
    program: "haproxy",
    version: ["haproxy", "-v"],
    command: (config) => ["haproxy", "-db", "-f", config],
    config: (folder, services) => `global
  nbthread 1
  maxconn 9000
defaults
  mode tcp
  timeout connect 1m
  timeout client 1h
  timeout server 1h
${services
  .map(
    ({ port, to }) => `listen to-${to}
  bind 127.0.0.1:${port}
  server ingress 127.0.0.1:${to} ssl verify required verifyhost ${peerServerName} sni str(${peerServerName}) ca-file ${folder}/ca.pem crt ${folder}/client.both.pem
`,
  )
  .join("")}`,
  },
  {
    program: "nginx",
    version: ["nginx", "-v"],
    command: (config) => ["nginx", "-c", config, "-e", "stderr"],
    config: (folder, services) => `${streamModule()}
daemon off;
master_process off;
worker_processes 1;
pid ${folder}/nginx.pid;
events { worker_connections 18000; }
stream {
  proxy_ssl on;
  proxy_ssl_protocols TLSv1.3;
  proxy_ssl_certificate ${folder}/client.pem;
  proxy_ssl_certificate_key ${folder}/client.key.pem;
  proxy_ssl_trusted_certificate ${folder}/ca.pem;
  proxy_ssl_verify on;
  proxy_ssl_verify_depth 2;
  proxy_ssl_name ${peerServerName};
  tcp_nodelay on;
${services.map(({ port, to }) => `  server { listen 127.0.0.1:${port}; proxy_pass 127.0.0.1:${to}; }\n`).join("")}}
`,
  },
  {
    program: "stunnel",
    version: ["stunnel", "-version"],
    command: (config) => [
      "taskset",
      "--cpu-list",
      String(availableParallelism() - 1),
      "stunnel",
      config,
    ],
    config: (folder, services) => `foreground = yes
syslog = no
debug = err
pid =
client = yes
sslVersion = TLSv1.3
cert = ${folder}/client.both.pem
CAfile = ${folder}/ca.pem
verifyChain = yes
checkHost = ${peerServerName}
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
${services.map(({ port, to }) => `[to-${to}]\naccept = 127.0.0.1:${port}\nconnect = 127.0.0.1:${to}\n`).join("")}`,
  },
];

/** Debian's peers, by the names of their programs. */
export const installable = recipes.map(({ program }) => program);

/**
 * The loops of ngrok's Go programs (ingress/forward.go). They send the upgrade
 * header, which no other peer does.
 */
export const loops: readonly { readonly name: string; readonly loop: Loop }[] = [
  { name: "operator's loop", loop: "operator" },
  { name: "Go ngrokd's loop", loop: "original" },
];

/** Starts the installed peers, and returns when they listen. */
export async function startPeers(
  folder: string,
  programs: ReadonlySet<Program>,
  rig: Rig,
): Promise<Peer[]> {
  const installed = startInstalled(folder, programs, { near: rig.near.bare, far: rig.far.bare });
  for (const { name, near, far } of installed)
    await until(`${name} listens`, async () => (await answers(near)) && (await answers(far)));
  const forwarders = loops.map(async ({ name, loop }) => ({ name, ...(await rig.forward(loop)) }));
  return [...installed, ...(await Promise.all(forwarders))];
}

function startInstalled(
  folder: string,
  programs: ReadonlySet<Program>,
  ingress: { near: number; far: number },
): Peer[] {
  return recipes.flatMap(({ program, config, command }) => {
    if (!programs.has(program)) return [];
    const [near, far] = [freePort(), freePort()];
    const file = join(folder, `${program}.conf`);
    writeFileSync(
      file,
      config(folder, [
        { port: near, to: ingress.near },
        { port: far, to: ingress.far },
      ]),
    );
    const { pid } = start(folder, program, command(file));
    return [{ name: program, pid, near, far }];
  });
}

/** The name and version of each installed peer, as it prints them. */
export function peerVersions(programs: ReadonlySet<Program>): string[] {
  return recipes.flatMap(({ program, version }) => {
    const found = programs.has(program)
      ? /\d+\.\d+[\w.+~-]*/.exec(outputOf(version) ?? "")?.[0]
      : undefined;
    return found === undefined ? [] : [`${program} ${found}`];
  });
}

async function answers(port: number): Promise<boolean> {
  try {
    (await Bun.connect({ hostname: "127.0.0.1", port, socket: { data() {} } })).end();
    return true;
  } catch {
    return false;
  }
}

/**
 * Debian has the module in a separate file. Other systems often have it built
 * in.
 */
function streamModule(): string {
  const file = "/usr/lib/nginx/modules/ngx_stream_module.so";
  return existsSync(file) ? `load_module ${file};` : "";
}
