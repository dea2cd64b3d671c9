import type { ListItem, ReloadReport, Status } from "../../src/desk/reply-schemas.ts";
import {
  askSocket,
  binary,
  defaultSocket,
  ngrokd,
  type Running,
  start,
} from "../support/ngrokd.ts";

/** The daemon's lives: one after the other, and never two that serve. */
export interface Daemons {
  /** The one that should be serving. */
  readonly current: Running;
  readonly kills: number;
  readonly starts: number;
  /**
   * Daemons that were started beside another one, and that ended at once as
   * they should.
   */
  readonly refused: number;
  start(): void;
  /**
   * Starts two at the same moment, waits until one has given way, and continues
   * with the other.
   */
  startTwo(): Promise<void>;
  kill(): Promise<void>;
  /** Starts a second daemon beside the first. It must refuse. */
  startSecond(): Promise<void>;
  /** Stops it and returns the exit code. */
  stop(): Promise<number>;
  /** The number of occurrences of a text in the logs of all lives. */
  logged(text: string): number;
  /** All of it. */
  logs(): string;
}

/**
 * `wrong` is called for a daemon that ends by itself, or for two that serve.
 */
export function createDaemons(wrong: (text: string) => void): Daemons {
  const lives: Running[] = [];
  const mayEnd = new Set<Running>();
  const ended = new Set<Running>();
  let current: Running | undefined;
  let [kills, refused] = [0, 0];
  const present = (): Running => {
    if (current === undefined) throw new Error("no daemon was started yet");
    return current;
  };

  function launch(): Running {
    const life = start("a daemon", [binary(), "serve"]);
    lives.push(life);
    void life.exited.then((code) => {
      ended.add(life);
      if (!mayEnd.has(life))
        wrong(`a daemon ended by itself with ${code}: ${life.log().slice(-1000)}`);
    });
    return life;
  }

  return {
    get current() {
      return present();
    },
    get kills() {
      return kills;
    },
    get starts() {
      return lives.length;
    },
    get refused() {
      return refused;
    },
    start() {
      current = launch();
    },
    async startTwo() {
      const pair = [launch(), launch()] as const;
      for (const life of pair) mayEnd.add(life);
      const ends = pair.map(async (life) => ({ life, code: await life.exited }));
      const first = await Promise.race([...ends, Bun.sleep(20_000)]);
      const [one, other] = pair;
      current = first?.life === one ? other : one;
      mayEnd.delete(current);
      if (first === undefined)
        wrong("two daemons that were started at the same moment both live after 20 s");
      else if (first.code !== alreadyRunning)
        wrong(
          `of two daemons started at the same moment, one ended with ${first.code}: ${first.life.log()}`,
        );
      else refused += 1;
      // If both had given way before this, the run would not notice.
      if (ended.has(current))
        wrong(`of two daemons started at the same moment, both have ended: ${current.log()}`);
    },
    async kill() {
      const life = present();
      mayEnd.add(life);
      life.kill("SIGKILL");
      await life.exited;
      kills += 1;
    },
    async startSecond() {
      const { code, err } = await ngrokd("serve");
      if (code === alreadyRunning) refused += 1;
      else wrong(`a second daemon beside the first ended with ${code}: ${err}`);
    },
    async stop() {
      const life = present();
      mayEnd.add(life);
      return await life.stop();
    },
    logs: () => lives.map((life) => `--- daemon ${life.pid}\n${life.log()}`).join("\n"),
    logged: (text) => lives.reduce((sum, life) => sum + life.log().split(text).length - 1, 0),
  };
}

/** docs/usage.md, "Exit codes". */
const alreadyRunning = 6;

/** A daemon's own report. */
export interface Report {
  readonly status: Status;
  readonly list: readonly ListItem[];
  /** The start of its latest successful poll, by the wall clock; ms. */
  readonly polledAt: number;
}

/** Rejects if no daemon replies. */
export async function report(): Promise<Report> {
  const [status, list] = await Promise.all([
    request("status") as Promise<Status>,
    request("list") as Promise<ListItem[]>,
  ]);
  const poll = status.last_poll;
  return { status, list, polledAt: poll?.ok === true ? Date.parse(poll.time) - poll.took_ms : 0 };
}

export async function refresh(): Promise<void> {
  await request("refresh");
}

export async function reload(): Promise<ReloadReport> {
  return (await request("reload")) as ReloadReport;
}

async function request(command: string): Promise<unknown> {
  const reply = await askSocket(defaultSocket, { command });
  if (reply.success) return reply.data;
  throw new Error(`${command}: ${reply.error}`);
}
