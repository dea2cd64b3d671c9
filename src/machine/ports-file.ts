import { z } from "zod";
import type { Ports } from "../exposure/ports.ts";
import { moveAside } from "../files/aside.ts";
import { readFileIfThere, writeFileAtomic } from "../files/atomic.ts";
import type { Log } from "../model/log.ts";

export interface SavedPorts {
  /** In memory only if they could not be saved. */
  readonly all: Ports;
  load(): Promise<void>;
  /** As {@link load}, but changes nothing on disk. */
  look(): Promise<void>;
  save(next: Ports): Promise<void>;
}

/** The ports in a file; none before {@link SavedPorts.load}. */
export function createSavedPorts(path: string, log: Log): SavedPorts {
  let all: Ports = new Map();
  return {
    get all() {
      return all;
    },
    async load() {
      const { ports, warning } = await loadPorts(path);
      all = ports;
      if (warning !== undefined) log.warn(warning);
    },
    async look() {
      all = parse((await readFileIfThere(path)) ?? "") ?? new Map();
    },
    async save(next) {
      all = next;
      await savePorts(path, next);
    },
  };
}

const content = z.record(z.string().max(300), z.unknown());
const port = z.int().min(1).max(65_535);

/**
 * Loads the ports for other machines. The format is that of the Go program,
 * `{"host:port": 9080}`. An entry that is no port, or whose port an earlier one
 * has, is left out. A file that cannot be understood is moved aside, and counts
 * as empty; `warning` says so. Rejects with NgrokdError `permission` or `state`
 * if it cannot be read.
 */
export async function loadPorts(
  path: string,
  now = new Date(),
): Promise<{ ports: Ports; warning?: string }> {
  const text = await readFileIfThere(path);
  if (text === undefined) return { ports: new Map() };
  const parsed = parse(text);
  if (parsed !== undefined) return { ports: parsed };
  const warning = `"${path}" cannot be understood; ${await moveAside(path, now)}`;
  return { ports: new Map(), warning };
}

/** Writes the ports atomically (0644) if the file differs. */
export async function savePorts(path: string, ports: Ports): Promise<void> {
  const before = await readFileIfThere(path);
  if (before === undefined && ports.size === 0) return;
  const text = `${JSON.stringify(Object.fromEntries(ports), undefined, 2)}\n`;
  if (before !== text) await writeFileAtomic(path, text, { mode: 0o644 });
}

/** Undefined if this is no such file. */
function parse(text: string): Ports | undefined {
  try {
    const entries = Object.entries(content.parse(JSON.parse(text)));
    const ports = new Map<string, number>();
    const used = new Set<number>();
    for (const [key, value] of entries) {
      const found = port.safeParse(value);
      if (!found.success || used.has(found.data)) continue;
      used.add(found.data);
      ports.set(key, found.data);
    }
    return ports;
  } catch {
    return undefined;
  }
}
