export type Env = Readonly<Record<string, string | undefined>>;

/**
 * Variables that the runtime and OpenSSL read. They run code, open a debugger,
 * print requests with their keys, write files, or name CAs. None is a setting
 * of ngrokd's.
 */
const ofTheRuntime = /^(?:(?:BUN|JSC|NODE|MIMALLOC)_\w+|SSL_CERT_FILE|SSL_CERT_DIR|SSLKEYLOGFILE)$/;
/** A documented setting, and two without effect that are common. */
const kept = new Set(["NODE_EXTRA_CA_CERTS", "NODE_ENV", "BUN_INSTALL"]);

const note = "NGROKD_LEFT_OUT";
/** From the unit: the only folders to make and remove files in. */
export const createIn = "NGROKD_CREATE_IN";
const confined = "NGROKD_CONFINED";

/**
 * The environment without the runtime's variables, with a note of their names.
 * Undefined if there are none. The runtime has read them before any code of
 * ours runs, so only another process is free of them.
 */
export function cleanEnvironment(env: Env): Record<string, string> | undefined {
  const set = Object.entries(env).filter(
    (entry): entry is [string, string] => entry[1] !== undefined,
  );
  const isOut = (name: string): boolean => ofTheRuntime.test(name) && !kept.has(name);
  const out = set.map(([name]) => name).filter(isOut);
  if (out.length === 0) return undefined;
  return { ...Object.fromEntries(set.filter(([name]) => !isOut(name))), [note]: out.join(" ") };
}

const held = "NGROKD_HELD";

/**
 * The environment of a command that starts another program: what
 * {@link cleanEnvironment} leaves out is that program's, so it is held.
 */
export function holdingEnvironment(clean: Env, before: Env): Env {
  const out = (clean[note] ?? "").split(" ").map((name) => [name, before[name]]);
  return { ...clean, [held]: JSON.stringify(Object.fromEntries(out)) };
}

/** The inverse: the environment as the user has it. */
export function givenEnvironment(env: Env): Record<string, string> {
  const { [held]: text = "{}", [note]: _, ...rest } = env;
  const set = Object.entries({ ...rest, ...heldIn(text) });
  return Object.fromEntries(set.filter((one): one is [string, string] => one[1] !== undefined));
}

function heldIn(text: string): Record<string, string> {
  try {
    const values: unknown = JSON.parse(text);
    return Object.fromEntries(
      Object.entries(values ?? {}).filter(
        ([name, value]) => ofTheRuntime.test(name) && typeof value === "string",
      ),
    );
  } catch {
    return {};
  }
}

/** The names that {@link cleanEnvironment} noted. */
export const leftOutIn = (env: Env): string[] =>
  (env[note] ?? "").split(" ").filter((name) => ofTheRuntime.test(name));

/** Variables that count, and change the running code or the trusted CAs. */
export const trustedVariables = (env: Env): string[] =>
  [
    "LD_PRELOAD",
    "LD_LIBRARY_PATH",
    "LD_AUDIT",
    "DYLD_INSERT_LIBRARIES",
    "DYLD_LIBRARY_PATH",
    "NODE_EXTRA_CA_CERTS",
  ].filter((name) => (env[name] ?? "") !== "");

/** The folders that the unit names; undefined if it names none. */
export const foldersToCreateIn = (env: Env): string[] | undefined =>
  env[createIn]?.split(":").filter((path) => path.startsWith("/"));

/** The environment of a process that was confined, or could not be. */
export function confinedEnvironment(env: Env, done: boolean): Record<string, string | undefined> {
  const { [createIn]: _folders, ...rest } = env;
  return { ...rest, [confined]: done ? "yes" : "no" };
}

/** Whether files can be made elsewhere although the unit forbids it. */
export const isUnconfined = (env: Env): boolean => env[confined] === "no";

const threads = "UV_THREADPOOL_SIZE";

/**
 * The environment with more threads for the runtime's work on files and for its
 * lookups; undefined if the user has set their number. By default there are as
 * many as processors. Each lookup that no name server answers keeps one for ten
 * seconds, and all work on files then waits. The runtime starts a thread only
 * if it is needed.
 */
export const withThreads = (env: Env): Env | undefined =>
  env[threads] === undefined ? { ...env, [threads]: "32" } : undefined;

/** systemd's descriptors, for the process of this id: sd_listen_fds(3). */
export function passedDescriptors(env: Env, pid: number): number[] {
  const count = Number(env.LISTEN_FDS);
  const isOurs = Number(env.LISTEN_PID) === pid && Number.isInteger(count) && count > 0;
  return isOurs ? Array.from({ length: count }, (_, i) => firstPassed + i) : [];
}
const firstPassed = 3;

/** For a program that takes the place of its process: sockets and numbers. */
export const inPlaceVariable = "NGROKD_INHERITED";

/** The descriptors of the program that this process was before, by name. */
export const leftDescriptors = (env: Env): Map<string, number> =>
  new Map(
    (env[inPlaceVariable] ?? "").split(",").flatMap((entry) => {
      const [, name, fd] = /^(.+)=(\d+)$/.exec(entry) ?? [];
      return name === undefined ? [] : [[name, Number(fd)] as const];
    }),
  );
