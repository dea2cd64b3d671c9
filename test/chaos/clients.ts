import { randomFrom } from "../soak/pattern.ts";
import { choosePlan, type Plan, play, startService } from "../soak/traffic.ts";
import { explain, overlap, type Span, type Suspect, type Why } from "./alibis.ts";

export interface Target {
  readonly host: string;
  readonly port: number;
  /** `host:port` as ngrok has it. */
  readonly place: string;
}

/** The clients and their service. Both sides check every byte. */
export interface Clients {
  /** The service: `host:port`. */
  readonly upstream: string;
  readonly complete: number;
  readonly bytes: number;
  readonly endedEarly: number;
  /** The service's open connections. */
  readonly open: number;
  /** Sets the places for new connections; none at first. */
  aim(targets: readonly Target[]): void;
  /**
   * Counts of early ends by explanation, and descriptions of those without one.
   */
  judge(
    spans: readonly Span[],
    cuts: readonly number[],
  ): { explained: Readonly<Record<Why, number>>; unexplained: string[] };
  /** Resolves when the last connection has ended. */
  stop(): Promise<void>;
}

/** The short and the long connections. */
const [brisk, patient] = [10, 4];

export async function startClients(seed: number, wrong: (text: string) => void): Promise<Clients> {
  let targets: readonly Target[] = [];
  let over = false;
  let number = 0;
  let [complete, bytes] = [0, 0];
  const suspects: Suspect[] = [];
  /** The start of each connection. */
  const began = new Map<number, number>();
  /**
   * Connections that the service saw end cleanly before their last byte;
   * without a number if it had not arrived.
   */
  const cutShort: { reason: string; n: number | undefined; at: number }[] = [];
  const service = await startService((reason, n) => {
    if (isShort(reason)) cutShort.push({ reason, n, at: performance.now() });
    else wrong(`the service, connection ${n}: ${reason}`);
  });

  async function visit(target: Target, plan: Plan): Promise<boolean> {
    const { n, kind } = plan;
    const from = performance.now();
    began.set(n, from);
    const { ending, received } = await play(target, plan);
    if (ending.kind === "complete") {
      complete += 1;
      bytes += plan.up + plan.down;
      return true;
    }
    const short = ending.kind === "wrong" && isShort(ending.reason);
    const reason = `connection ${n} (${kind}) to ${target.place}: ${ending.reason}`;
    if (ending.kind === "wrong" && !short) wrong(reason);
    else
      suspects.push({ place: target.place, from, to: performance.now(), received, short, reason });
    return false;
  }

  const visitors = Array.from({ length: brisk + patient }, async (_, i) => {
    const random = randomFrom(seed + i);
    while (!over) {
      const target = targets[Math.floor(random() * targets.length)];
      const n = number++;
      const went =
        target !== undefined &&
        (await visit(target, i < brisk ? choosePlan(n, random) : longPlan(n, random)));
      await Bun.sleep(random() * 60 + (went ? 0 : 150));
    }
  });

  return {
    upstream: `127.0.0.1:${service.port}`,
    get complete() {
      return complete;
    },
    get bytes() {
      return bytes;
    },
    get endedEarly() {
      return suspects.length;
    },
    get open() {
      return service.open;
    },
    aim(next) {
      targets = next;
    },
    judge(spans, cuts) {
      const why = [...explain(suspects, spans, cuts)];
      const by = (cause: Why): number => why.filter(([, found]) => found === cause).length;
      const kills = spans.filter(({ kind }) => kind === "killed");
      const isKilled = (n: number | undefined, at: number): boolean => {
        // A connection without a number had only begun.
        const from = (n === undefined ? undefined : began.get(n)) ?? at - 5000;
        return kills.some((span) => overlap(span, { from, to: at }));
      };
      return {
        explained: {
          killed: by("killed"),
          cut: by("cut"),
          removed: by("removed"),
          unknown: by("unknown"),
        },
        unexplained: [
          ...why.flatMap(([suspect, found]) => (found === undefined ? [toldWith(suspect)] : [])),
          ...cutShort.flatMap(({ reason, n, at }) =>
            isKilled(n, at) ? [] : [`the service, connection ${n}: ${reason}`],
          ),
        ],
      };
    },
    async stop() {
      over = true;
      await Promise.all(visitors);
    },
  };
}

/**
 * A clean end that came too soon. Any other mismatch is wrong bytes, for which
 * there is no explanation.
 */
const isShort = (reason: string): boolean => reason.includes("ended cleanly after");

const toldWith = ({ reason, from, to }: Suspect): string =>
  `${reason}, and nothing that was done explains it (${Math.round(from)} to ${Math.round(to)} ms)`;

/**
 * A connection that lives through renewals and reloads: a byte there and back
 * every 20 ms, for up to 20 s.
 */
function longPlan(n: number, random: () => number): Plan {
  const bytes = 100 + Math.floor(random() * 900);
  return { n, kind: "patient", up: bytes, down: bytes, chunk: 1 };
}
