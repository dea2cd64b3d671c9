import { existsSync } from "node:fs";
import { open, readdir, stat, unlink } from "node:fs/promises";
import os from "node:os";
import { join, resolve } from "node:path";
import { inspectConfig } from "../config/load.ts";
import { keysOf } from "../config/profiles.ts";
import { redactedSettings } from "../config/redact.ts";
import type { OperationName } from "../desk/operations.ts";
import { examine } from "../doctor/doctor.ts";
import { fileError, readFileIfThere } from "../files/atomic.ts";
import { stateFiles, stateFolderOf } from "../files/state-folder.ts";
import { errnoOf } from "../model/errno.ts";
import { NgrokdError, reasonOf } from "../model/error.ts";
import { proxySecrets } from "../model/proxy.ts";
import { thisManager, unitFile } from "../service/manage.ts";
import { run } from "../service/run-command.ts";
import { bytesText, plain } from "../terminal/say.ts";
import { table } from "../terminal/table.ts";
import { version } from "../version.ts";
import { command, type Io } from "./command.ts";
import { type DaemonArgs, daemonAt } from "./daemon-socket.ts";
import { findingsText } from "./findings-text.ts";
import { archiveOf, type Entry, redactor } from "./support-archive.ts";

export default command({
  name: "support",
  description: "Write one archive for a report, without secrets, and list its content",
  args: {
    output: {
      type: "string",
      alias: "o",
      valueHint: "file",
      description: "The archive to write, a new file; default: one in this folder",
    },
  },
  examples: ["sudo ngrokd support", "sudo ngrokd support --output /tmp/ngrokd-report.tar.gz"],
  async run(args, io) {
    const now = new Date().toISOString().replaceAll(/[-:]|\.\d+/g, "");
    const folder = `ngrokd-support-${now}`;
    const path = resolve(args.output ?? `${folder}.tar.gz`);
    const entries = await io.say.awaiting("Collecting facts", () => collect(args, io));
    const archive = await archiveOf(entries, folder);
    await writeNew(path, archive);
    const files = entries.map(({ name, about, text }) => ({
      name,
      about,
      bytes: Buffer.byteLength(text),
    }));
    io.say.result({ path, bytes: archive.length, files }, () => {
      const rows = files.map(({ name, bytes, about }) => [name, bytesText(bytes), about]);
      return [
        table(["File", "Size", "Content"], rows, io.say.paint),
        "",
        `Written to ${path} (${bytesText(archive.length)}). Keys and passwords are left out.`,
        "It has names of endpoints, of this machine and of its users: read it before you send it.",
      ].join("\n");
    });
    return undefined;
  },
});

/** A new file of the user alone: no link of another user is followed. */
async function writeNew(path: string, bytes: Uint8Array): Promise<void> {
  try {
    const file = await open(path, "wx", 0o600);
    try {
      await file.writeFile(bytes);
    } catch (error) {
      await unlink(path);
      throw error;
    } finally {
      await file.close();
    }
  } catch (error) {
    if (errnoOf(error) !== "EEXIST") throw fileError(`Cannot write "${path}"`, error);
    throw new NgrokdError("usage", `Cannot write "${path}": there is such a file`, {
      hint: "name another one with --output",
    });
  }
}

/** Everything, secrets taken out. What fails leaves its reason instead. */
async function collect(args: DaemonArgs, io: Io): Promise<Entry[]> {
  const { loaded } = await inspectConfig({ file: args.config, env: io.env }).catch(() => ({
    loaded: undefined,
  }));
  const proxy = loaded?.proxy.proxy;
  const redact = redactor([
    ...(loaded === undefined ? [] : keysOf(loaded)),
    io.env.NGROK_API_KEY ?? "",
    ...(proxy === undefined ? [] : proxySecrets(proxy)),
  ]);
  const folder = stateFolderOf(loaded?.config.server ?? { client_cert: "/etc/ngrokd/tls.crt" });
  const ask = daemonAt(args, io);
  const asked = (name: OperationName, about: string): Promise<Entry> =>
    entry(`${name}.json`, about, async () => json(await ask(name)));
  const { net, env } = io;
  const place = { net, env, config: args.config, socket: args.socket };
  const entries = await Promise.all([
    entry("system.json", "version, system, memory and clock", async () => json(system())),
    entry("config.json", "the settings in effect and their origins", async () =>
      json(loaded === undefined ? "the configuration cannot be used" : redactedSettings(loaded)),
    ),
    asked("status", "the daemon's state"),
    asked("list", "the endpoints"),
    asked("events", "what has happened"),
    entry("doctor.txt", "the findings of `ngrokd doctor`", async () =>
      findingsText(await examine({ ...place, all: false }), plain, 100),
    ),
    entry("log.txt", "the last 2000 lines of the service's log", serviceLog),
    entry("state-files.txt", "names, modes and sizes of the daemon's files", () => filesIn(folder)),
    entry("changes.json", "ngrokd's changes on this machine", async () =>
      textOrNone(stateFiles(folder).journal),
    ),
    entry("resolv.conf", "the name servers of this machine", () => textOrNone("/etc/resolv.conf")),
    entry("nsswitch.conf", "the sources of names", () => textOrNone("/etc/nsswitch.conf")),
  ]);
  return entries.map((one) => ({ ...one, text: redact(one.text) }));
}

async function entry(name: string, about: string, read: () => Promise<string>): Promise<Entry> {
  const text = await read().catch((error: unknown) => `not available: ${reasonOf(error)}`);
  return { name, about, text: `${text.trimEnd()}\n` };
}

const json = (value: unknown): string => JSON.stringify(value, null, 2);

const system = () => ({
  version,
  system: `${os.type()} ${os.release()} ${os.arch()}`,
  cpus: os.cpus().length,
  memory: os.totalmem(),
  free: os.freemem(),
  up_seconds: Math.round(os.uptime()),
  user: process.getuid?.() ?? null,
  now: new Date().toISOString(),
});

async function serviceLog(): Promise<string> {
  const manager = thisManager();
  if ((await unitFile(manager)).kind === "none") return "ngrokd is not installed as a service";
  const shown = manager.logs({ lines: 2000, follow: false });
  if (!existsSync(shown[0])) return `there is no "${shown[0]}"`;
  const { out, err } = await run(shown);
  return `${out}${err}`;
}

async function filesIn(folder: string): Promise<string> {
  const names = (await readdir(folder)).sort();
  const lines = await Promise.all(names.map((name) => fileLine(folder, name)));
  return [folder, ...lines.filter((line) => line !== undefined)].join("\n");
}

/** Undefined for a file that is gone: the daemon replaces its files. */
async function fileLine(folder: string, name: string): Promise<string | undefined> {
  try {
    const { mode, uid, gid, size, mtime } = await stat(join(folder, name));
    return `${(mode & 0o7777).toString(8)} ${uid}:${gid} ${size} ${mtime.toISOString()} ${name}`;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

async function textOrNone(path: string): Promise<string> {
  return (await readFileIfThere(path, 1024 * 1024)) ?? "there is no such file";
}
