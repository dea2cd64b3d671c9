import { join } from "node:path";

const root = join(import.meta.dirname, "..", "..");

export const written = ["/etc", "/run", "/var/run", "/tmp"];
/** Looked for with `dns.enabled`. */
export const read = ["/bin/resolvectl", "/usr/bin/resolvectl"];

/**
 * The rights of the daemon under Deno, as in docs/operations.md, and `places`
 * beside them. It asks for no more: a right that it lacks is an error.
 */
export const denoRights = (places: readonly string[] = []): string[] => [
  "--no-prompt",
  "--allow-net",
  `--allow-read=${[root, ...read, ...written, ...places].join(",")}`,
  `--allow-write=${[...written, ...places].join(",")}`,
  "--allow-env",
  "--allow-sys=hostname,networkInterfaces,uid,gid,ca,systemMemoryInfo,umask,osRelease",
];

/** The words that run the daemon's sources under Deno. */
export const underDeno = (rights: readonly string[]): [string, ...string[]] => [
  join(root, "node_modules/.bin/deno"),
  "run",
  ...rights,
  join(root, "src/main.ts"),
];
