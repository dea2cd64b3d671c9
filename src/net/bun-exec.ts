/**
 * Another program in this process, by execve(2) of the C library. Bun's own
 * process.execve() closes every inherited descriptor, and Bun 1.4.5 marks all
 * of them to be closed when it starts.
 */
import { errnoName, errnoNow, libcNow } from "./bun-libc.ts";

/**
 * Becomes a program, which inherits these descriptors. Returns the reason if
 * that fails.
 */
export async function becomeProgram(
  path: string,
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  descriptors: readonly number[],
): Promise<string> {
  const { ptr } = await import("bun:ffi");
  const { execve, fcntl } = await libcNow();
  for (const descriptor of descriptors) fcntl(descriptor, setFlags, 0);
  const entries = Object.entries(env).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}=${value}`],
  );
  // The arrays have to live until the call.
  const texts = [path, ...args, ...entries].map((text) => new TextEncoder().encode(`${text}\0`));
  const pointers = texts.map((text) => BigInt(ptr(text)));
  const words = new BigUint64Array([...pointers.slice(1, 1 + args.length), 0n]);
  const variables = new BigUint64Array([...pointers.slice(1 + args.length), 0n]);
  execve(texts[0] ?? new Uint8Array(1), words, variables);
  return errnoName(errnoNow());
}

/** F_SETFD of Linux. */
const setFlags = 2;
