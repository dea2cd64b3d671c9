import { lstat, realpath } from "node:fs/promises";
import { dirname, join } from "node:path";
import { inspectConfig, type Loaded, loadConfig } from "../config/load.ts";
import { defaultConfigPath, defaultHostsPath, type Env } from "../config/paths.ts";
import { ofProfile } from "../config/profiles.ts";
import { defaultConfig, profileNames } from "../config/schema.ts";
import { trustedFiles } from "../config/trusted-files.ts";
import { stateFolderOf } from "../files/state-folder.ts";
import { type Exposed, exposed, exposedText } from "../files/writers.ts";
import { NgrokdError } from "../model/error.ts";
import { isLoopbackSubnet, parseSubnet } from "../model/ip.ts";
import type { ServiceFacts } from "./service-facts.ts";

export interface ThisService {
  readonly facts: ServiceFacts;
  readonly stateFolder: string;
  readonly remarks: readonly string[];
  /** Files that decide what the service does, and that others can change. */
  readonly exposed: readonly Exposed[];
}

/** The rights that a daemon needs to tell a machine's resolver. */
export interface ResolverNeeds {
  readonly usesDbus: boolean;
  /** The folders in which it writes. */
  readonly folders: readonly string[];
}

/**
 * The facts for the service file, from this machine and the configuration in
 * effect. `remarks` are warnings for the user.
 */
export async function serviceFacts(args: {
  config?: string | undefined;
  socket?: string | undefined;
  env: Env;
  /** The folder of the CAs that the daemon always trusts. */
  trustFolder: string;
  /** The text that the configuration file is going to have. */
  draft?: string | undefined;
  /** What the daemon needs to tell this machine's resolver. */
  resolver: ResolverNeeds;
}): Promise<ThisService> {
  const loaded = await loadConfig({
    file: args.config,
    env: args.env,
    draft: args.draft,
    flags: { "server.socket_path": args.socket },
  });
  const { server, forward, net, dns } = loaded.config;
  const resolver = dns.enabled ? args.resolver : { usesDbus: false, folders: [] };
  const program = await ownProgram();
  const stateFolder = stateFolderOf(server);
  const facts: ServiceFacts = {
    program,
    serveArgs: [
      ...wordFor("--config", loaded.path, loaded.path !== defaultConfigPath),
      ...wordFor("--socket", server.socket_path, !inFile(loaded)),
    ],
    environment:
      loaded.hostsPath === defaultHostsPath ? {} : { NGROKD_HOSTS_PATH: loaded.hostsPath },
    hostsPath: await realpath(loaded.hostsPath).catch(() => loaded.hostsPath),
    socketPath: server.socket_path,
    folders: [
      stateFolder,
      dirname(server.client_key),
      dirname(loaded.path),
      ...profileFolders(loaded, stateFolder),
      ...resolver.folders,
    ],
    ...(resolver.usesDbus && { usesDbus: true }),
    reads: server.ingress_ca === "" ? [] : [server.ingress_ca],
    makesInterface: makesInterface(net.subnet),
    drainSeconds: forward.drain_timeout,
  };
  const odd = [facts.program, ...facts.serveArgs, facts.hostsPath, ...facts.folders].find((path) =>
    /\p{Cc}/u.test(path),
  );
  if (odd !== undefined)
    throw new NgrokdError(
      "usage",
      `Cannot make a service of ${JSON.stringify(odd)}: it has a control character in it`,
    );
  return {
    facts,
    stateFolder,
    remarks: [...environmentRemarks(loaded), ...(await ownerRemarks(loaded))],
    exposed: await exposed(trustedFiles(loaded, args.trustFolder), { uid: 0, gid: 0 }),
  };
}

/** The folders of profiles that are not below the state folder. */
function profileFolders(loaded: Loaded, stateFolder: string): string[] {
  const folders = profileNames(loaded.config).flatMap((name) => {
    const { server } = ofProfile(loaded, name).config;
    return [stateFolderOf(server), dirname(server.client_key)];
  });
  return [...new Set(folders)].filter((folder) => !`${folder}/`.startsWith(`${stateFolder}/`));
}

/**
 * Throws `refused` if others can change a file that the service trusts: they
 * would have its rights. A hosts file that another user may write is allowed,
 * since it gives that user no new right.
 */
export function refuseExposed(found: readonly Exposed[]): void {
  const [one, ...more] = found.filter(({ kind }) => kind !== "hosts file");
  if (one === undefined) return;
  const fixes = [one, ...more].map(({ fix }) => `\`sudo ${fix}\``).join(", ");
  throw new NgrokdError("refused", `Cannot install the service: ${exposedText(one)}`, {
    hint: `nothing was changed; run ${fixes}, and look at what the files have in them`,
    details: { paths: [one, ...more].map(({ at }) => at) },
  });
}

/**
 * The state folder, or the default one if the configuration is wrong. A service
 * must be removable even then.
 */
export async function stateFolderToUndo(file: string | undefined, env: Env): Promise<string> {
  const { loaded } = await inspectConfig({ file, env });
  return stateFolderOf((loaded?.config ?? defaultConfig).server);
}

/** `auto` and every subnet but loopback. */
function makesInterface(text: string): boolean {
  const subnet = parseSubnet(text);
  return !subnet.ok || !isLoopbackSubnet(subnet.value);
}

const wordFor = (flag: string, value: string, isNeeded: boolean): string[] =>
  isNeeded ? [flag, value] : [];
const inFile = ({ origins }: Loaded): boolean =>
  ["file", "default"].includes(origins["server.socket_path"]);

/** Warnings about variables of this shell, which the service does not have. */
function environmentRemarks({ origins }: Loaded): string[] {
  const from = (key: "api.key" | "forward.proxy_url"): string | undefined =>
    origins[key].startsWith("environment ") ? origins[key].slice("environment ".length) : undefined;
  const remarks: string[] = [];
  const key = from("api.key");
  if (key !== undefined)
    remarks.push(
      `the service does not get ${key} of this shell; \`sudo ngrokd set-api-key\` saves the key for it`,
    );
  const proxy = from("forward.proxy_url");
  if (proxy !== undefined)
    remarks.push(
      `the service does not get ${proxy} of this shell; ` +
        "set `forward.proxy_url` with `sudo ngrokd config edit`",
    );
  return remarks;
}

/** The service runs as root, but without root's right to other users' files. */
async function ownerRemarks({ path, hostsPath, config }: Loaded): Promise<string[]> {
  const { client_cert, client_key, ingress_ca } = config.server;
  const remarks: string[] = [];
  for (const file of new Set([
    path,
    hostsPath,
    client_cert,
    client_key,
    stateFolderOf(config.server),
    ...(ingress_ca === "" ? [] : [ingress_ca]),
  ])) {
    const info = await lstat(file).catch(() => undefined);
    if (info === undefined || info.uid === 0) continue;
    remarks.push(
      `"${file}" does not belong to root, and the service may not be able to read it: ` +
        `\`sudo chown root ${file}\``,
    );
  }
  return remarks;
}

/**
 * The path of the binary that runs now. Rejects with `refused` if it is not an
 * ngrokd binary. It also rejects if a user other than root can replace it,
 * since that user would get root's rights at the next start.
 */
async function ownProgram(): Promise<string> {
  const program = await realpath(process.execPath);
  if (!isCompiled()) {
    throw new NgrokdError(
      "refused",
      `Cannot make a service of "${program}": it is not ngrokd's own program`,
      {
        hint: "install a release, or run `make build && sudo make install`, and use that program",
      },
    );
  }
  for (let path = program; ; path = dirname(path)) {
    const { uid, mode } = await lstat(path);
    const othersWrite = (mode & 0o022) !== 0 && (mode & 0o1000) === 0;
    if (uid !== 0 || othersWrite) {
      const why = uid === 0 ? "users other than root may write to" : "another user than root owns";
      throw new NgrokdError("refused", `Cannot make a service of "${program}": ${why} "${path}"`, {
        hint:
          `\`sudo install -m 0755 ${program} /usr/local/bin/ngrokd\`, ` +
          `and then \`sudo ${join("/usr/local/bin", "ngrokd")} service install\``,
      });
    }
    if (path === dirname(path)) return program;
  }
}

/** Bun shows the files of a compiled program below this folder. */
const isCompiled = (): boolean => process.argv[1]?.startsWith("/$bunfs/") ?? false;
