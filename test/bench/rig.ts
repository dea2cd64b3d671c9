import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { outputOf, type Running, start } from "./processes.ts";

/**
 * The fast part, in Go (ingress/): the ingress for the relays, a far network,
 * and the client that makes the load.
 */
export interface Rig {
  /**
   * Ports of 127.0.0.1: mutual TLS alone, and mutual TLS that first needs
   * ngrok's upgrade header.
   */
  readonly near: Ports;
  /** The same, with {@link oneWayMs} of delay in each direction. */
  readonly far: Ports;
  /** Starts the forwarding loop of one of ngrok's Go programs (ingress/). */
  forward(loop: Loop): Promise<Doors>;
  /** Makes load, and returns its measurements. */
  load<T>(...args: string[]): Promise<T>;
  /**
   * Connections that stay open. `opened` measures their opening. `release` ends
   * them and returns the number of those that still echoed.
   */
  hold(...args: string[]): Promise<{ opened: Connects; release: () => Promise<number> }>;
}

/** A relay on two ports of 127.0.0.1. */
export interface Doors {
  readonly pid: number;
  /** For the ingress here. */
  readonly near: number;
  /** For the one that is far away. */
  readonly far: number;
}

/** The program whose forwarding loop runs. */
export type Loop = "operator" | "original";

interface Ports {
  readonly bare: number;
  readonly header: number;
}

/** Times in milliseconds. */
export interface Connects {
  readonly done: number;
  readonly failed: number;
  readonly seconds: number;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
  /** The reason of the first failure. */
  readonly reason: string;
}

export const oneWayMs = 20;

/**
 * `folder` holds the certificates ({@link writeCertificates}) and receives the
 * logs. `cache` keeps the built program.
 */
export async function startRig(folder: string, cache: string): Promise<Rig> {
  const program = build(cache);
  const ask = async <T>(running: Running): Promise<T> => JSON.parse(await running.line());
  const near = await ask<Ports>(start(folder, "ingress", [program, "ingress", `-tls=${folder}`]));
  const delayed = async (name: string, port: number): Promise<number> => {
    const delay = start(folder, name, [
      program,
      "delay",
      `-to=127.0.0.1:${port}`,
      `-one-way=${oneWayMs}ms`,
    ]);
    return (await ask<{ port: number }>(delay)).port;
  };
  const far = {
    bare: await delayed("delay-bare", near.bare),
    header: await delayed("delay-header", near.header),
  };
  const startLoad = (args: readonly string[]): Running =>
    start(folder, "load", [program, "load", ...args]);
  return {
    near,
    far,
    async forward(loop) {
      const running = start(
        folder,
        loop,
        [
          ...[program, "forward", `-tls=${folder}`, `-loop=${loop}`],
          ...[`-near=127.0.0.1:${near.header}`, `-far=127.0.0.1:${far.header}`],
        ],
        // As many threads for Go as the other peers have.
        { GOMAXPROCS: "1" },
      );
      return { pid: running.pid, ...(await ask<Omit<Doors, "pid">>(running)) };
    },
    load: (...args) => ask(startLoad(args)),
    async hold(...args) {
      const running = startLoad(["-do=connect", "-hold", ...args]);
      const opened = await ask<Connects>(running);
      return {
        opened,
        async release() {
          running.endInput();
          return (await ask<{ alive: number }>(running)).alive;
        },
      };
    },
  };
}

function build(cache: string): string {
  mkdirSync(cache, { recursive: true });
  const program = join(cache, "rig");
  const env = { GOCACHE: join(cache, "go"), GOTOOLCHAIN: "local", GOFLAGS: "-trimpath" };
  const built = outputOf(["go", "build", "-o", program, "."], {
    cwd: join(import.meta.dirname, "ingress"),
    env,
  });
  if (built === undefined) throw new Error("Cannot build test/bench/ingress: see `go build` there");
  return program;
}
