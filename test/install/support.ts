import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

const root = join(import.meta.dirname, "..", "..");
export const asRoot = process.getuid?.() === 0;
/** The user nobody, on Debian and nearly everywhere. */
const nobody = 65534;

/**
 * The archive that `make dist` makes for this machine. An up-to-date one is not
 * made again.
 */
export function hostArchive(): {
  name: string;
  target: string;
  version: string;
  bytes: Buffer;
  sums: string;
} {
  const target = `${process.platform}-${process.arch}`;
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  // Independent of the make that may have started these tests.
  const { MAKEFLAGS: _flags, MAKELEVEL: _level, ...env } = process.env;
  const made = spawnSync("make", ["dist", `TARGETS=${target}`], {
    cwd: root,
    env,
    encoding: "utf8",
  });
  if (made.status !== 0) throw new Error(`make dist failed:\n${made.stdout}${made.stderr}`);
  const name = `ngrokd-${version}-${target}.tar.gz`;
  const sums = readFileSync(join(root, "dist", "SHA256SUMS"), "utf8");
  return { name, target, version, bytes: readFileSync(join(root, "dist", name)), sums };
}

/**
 * A tar.gz with these files, mode 0755. The content of a link is `-> target`,
 * and of a folder `/`.
 */
export function archiveOf(files: Readonly<Record<string, string>>): Buffer {
  const folder = mkdtempSync(join(tmpdir(), "ngrokd-archive-"));
  for (const [name, text] of Object.entries(files)) {
    const path = join(folder, name);
    if (text === "/") mkdirSync(path);
    else if (text.startsWith("-> ")) symlinkSync(text.slice(3), path);
    else writeFileSync(path, text, { mode: 0o755 });
  }
  const made = spawnSync("tar", ["-czf", "-", "-C", folder, ...Object.keys(files)], {
    maxBuffer: 1 << 20,
  });
  rmSync(folder, { recursive: true });
  if (made.status !== 0) throw new Error(`tar failed: ${made.stderr}`);
  return made.stdout;
}

export const sumLine = (name: string, bytes: Uint8Array | string): string =>
  `${createHash("sha256").update(bytes).digest("hex")}  ${name}\n`;

type Answer = Uint8Array | string | ((response: ServerResponse) => void);

export interface Release {
  readonly url: string;
  /** The requested paths, in order, without the leading slash. */
  readonly asked: string[];
  /** The content of each path; 404 for all others. */
  serve(files: Readonly<Record<string, Answer>>): void;
  close(): void;
}

/** An HTTP server on loopback in place of the release page. */
export async function startRelease(): Promise<Release> {
  const asked: string[] = [];
  let files: Readonly<Record<string, Answer>> = {};
  const server = createServer((request, response) => {
    const path = (request.url ?? "").slice(1);
    asked.push(path);
    const answer = files[path];
    if (typeof answer === "function") answer(response);
    else response.writeHead(answer === undefined ? 404 : 200).end(answer ?? "not here");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    asked,
    serve(next) {
      files = next;
      asked.length = 0;
    },
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  /** `sh` by default. */
  readonly shell?: readonly [string, ...string[]];
  /** Runs it as `curl … | sh -s -- args` does. */
  readonly piped?: boolean;
  /** Another text than install.sh's own. */
  readonly script?: string;
  /**
   * Runs as an ordinary user if the tests run as root, else as the current
   * user.
   */
  readonly unprivileged?: boolean;
  /**
   * An abort is Ctrl-C at a terminal: SIGINT to the script and to all its
   * children.
   */
  readonly interrupt?: AbortSignal;
}

/**
 * A machine's folders inside a temporary one: the program's, the
 * configuration's, home, the temporary folder, the hosts file.
 */
export interface Machine {
  readonly folder: string;
  readonly programs: string;
  readonly program: string;
  readonly configs: string;
  readonly config: string;
  readonly home: string;
  readonly temporary: string;
  readonly hosts: string;
  readonly env: Readonly<Record<string, string>>;
  /** Runs install.sh here. */
  install(args?: readonly string[], options?: RunOptions): Promise<Outcome>;
  /**
   * Every path with type, mode, size and time. It is equal before and after a
   * run that must change nothing.
   */
  snapshot(): string[];
  /**
   * A folder of programs before those in PATH, each with the text of a shell
   * script.
   */
  fakes(scripts: Readonly<Record<string, string>>): string;
  remove(): void;
}

/**
 * The tools that install.sh may use, besides a downloader and a checksum
 * program.
 */
export const tools =
  "cat chmod cp dirname gzip grep head id ldd ln ls mkdir mktemp mv rm rmdir sh sysctl tail tar tr uname".split(
    " ",
  );

export function createMachine(releaseUrl: string): Machine {
  const folder = mkdtempSync(join(tmpdir(), "ngrokd-install-"));
  const at = (name: string): string => join(folder, name);
  const places = {
    programs: at("bin"),
    configs: at("etc/ngrokd"),
    home: at("home"),
    temporary: at("tmp"),
    hosts: at("hosts"),
  };
  for (const name of ["home", "tmp", "bin", "etc"]) mkdirSync(at(name));
  writeFileSync(places.hosts, "127.0.0.1\tlocalhost\n");
  copyFileSync(join(root, "install.sh"), at("install.sh"));
  chmodSync(folder, 0o755);
  for (const name of ["home", "tmp"]) if (asRoot) chownSync(at(name), nobody, nobody);
  const env = {
    PATH: process.env.PATH ?? "/usr/bin:/bin",
    HOME: places.home,
    TMPDIR: places.temporary,
    NGROKD_RELEASE_URL: releaseUrl,
    NGROKD_INSTALL_DIR: places.programs,
    NGROKD_CONFIG_DIR: places.configs,
    NGROKD_HOSTS_PATH: places.hosts,
    NGROKD_SOCKET: at("ngrokd.sock"),
  };
  let fakeFolders = 0;
  return {
    folder,
    ...places,
    program: join(places.programs, "ngrokd"),
    config: join(places.configs, "config.yml"),
    env,
    install(args = [], options = {}) {
      const { shell = ["sh"], piped = false, script, unprivileged = false, interrupt } = options;
      if (script !== undefined) writeFileSync(at("install.sh"), script);
      const command = [...shell, ...(piped ? ["-s", "--"] : [at("install.sh")]), ...args];
      const lowered =
        unprivileged && asRoot
          ? ["setpriv", `--reuid=${nobody}`, `--regid=${nobody}`, "--clear-groups", ...command]
          : command;
      const [program = "", ...rest] = lowered;
      // Detached: a process group of its own, so that a signal reaches all of
      // it.
      const child = spawn(program, rest, {
        env: { ...env, ...options.env },
        cwd: folder,
        detached: true,
        stdio: "pipe",
      });
      interrupt?.addEventListener(
        "abort",
        () => child.pid !== undefined && process.kill(-child.pid, "SIGINT"),
      );
      child.stdin?.on("error", () => {}); // It may end before it has read all.
      child.stdin?.end(piped ? readFileSync(at("install.sh")) : "");
      return outcomeOf(child);
    },
    snapshot() {
      return readdirSync(folder, { recursive: true, encoding: "utf8" })
        .filter((path) => !["install.sh", "tmp"].includes(path) && !path.startsWith("fakes"))
        .flatMap((path) => {
          // A running daemon may have removed a temporary file meanwhile.
          const stats = lstatSync(at(path), { throwIfNoEntry: false });
          if (stats === undefined) return [];
          const content = stats.isFile() ? `${stats.size} ${stats.mtimeMs}` : "";
          return [`${path} ${stats.mode.toString(8)} ${stats.ino} ${content}`];
        })
        .sort();
    },
    fakes(scripts) {
      const fakes = at(`fakes${++fakeFolders}`);
      mkdirSync(fakes);
      for (const [name, text] of Object.entries(scripts))
        writeFileSync(join(fakes, name), `#!/bin/sh\n${text}\n`, { mode: 0o755 });
      return `${fakes}:${env.PATH}`;
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

/** A PATH with these tools alone. */
export function pathOf(machine: Machine, names: readonly string[]): string {
  const folder = mkdtempSync(join(machine.folder, "fakes-path-"));
  chmodSync(folder, 0o755);
  for (const name of names) {
    const found = spawnSync("sh", ["-c", `command -v ${name}`], { encoding: "utf8" }).stdout.trim();
    if (found.startsWith("/")) symlinkSync(found, join(folder, name));
  }
  return folder;
}

export function outcomeOf(child: ChildProcess): Promise<Outcome> {
  let [stdout, stderr] = ["", ""];
  child.stdout?.on("data", (bytes) => {
    stdout += bytes;
  });
  child.stderr?.on("data", (bytes) => {
    stderr += bytes;
  });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve({ code: code ?? -1, stdout, stderr }));
  });
}
