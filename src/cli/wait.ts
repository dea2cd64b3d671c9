import { setTimeout as sleep } from "node:timers/promises";
import type { ListItem } from "../desk/reply-schemas.ts";
import { endpointsOf, lacking, type Wanted } from "../desk/waiting.ts";
import { parseQuestion } from "../doctor/question.ts";
import { type ErrorCode, NgrokdError } from "../model/error.ts";
import { quote, readable } from "../model/parsed.ts";
import { command, type Io, profileArg } from "./command.ts";
import { daemonAt, type ProfileArgs } from "./daemon-socket.ts";

/** Milliseconds between two questions. */
const pauseMs = 250;
const maxSeconds = 86_400;

export default command({
  name: "wait",
  description:
    "Wait until the daemon is ready, or until it serves the given names; " +
    "exit code 1 if it does not in time, 4 if no daemon runs",
  args: {
    ...profileArg,
    host: {
      type: "positional",
      required: false,
      valueHint: "host…",
      description: "Host names, host:port or URLs; without them the daemon has to be ready",
    },
    timeout: {
      type: "string",
      valueHint: "seconds",
      default: "60",
      description: "The longest time to wait; 0 asks once",
    },
  },
  examples: ["ngrokd wait", "ngrokd wait hello.demo echo.demo:7000 --timeout 20"],
  async run(args, io) {
    const wanted = args._.map(parseWanted);
    const timeoutMs = parseSeconds(args.timeout) * 1000;
    const { items, waitedMs } = await io.say.awaiting(
      `Waiting for ${wanted.length === 0 ? "the daemon" : args._.join(" ")}`,
      () => untilServed(wanted, timeoutMs, args, io),
    );
    const served = wanted.flatMap((one) => endpointsOf(one, items));
    io.say.result(
      {
        ready: true,
        waited_seconds: Math.round(waitedMs / 100) / 10,
        endpoints: served.map(({ url, hostname, ip, port }) => ({ url, hostname, ip, port })),
      },
      () =>
        wanted.length === 0
          ? "The daemon is ready."
          : served
              .map(({ url, ip, port }) => `${readable(url)} is served on ${ip}:${port}`)
              .join("\n"),
    );
    return 0;
  },
});

type Look =
  | { readonly kind: "served"; readonly items: readonly ListItem[] }
  | { readonly kind: "lacking"; readonly why: NgrokdError };

/**
 * Asks the daemon until nothing is lacking. Rejects with `timeout`, or with
 * `not-running` if no daemon answers at the end. An error that time does not
 * mend ends the wait at once.
 */
export async function untilServed(
  wanted: readonly Wanted[],
  timeoutMs: number,
  args: ProfileArgs,
  io: Io,
): Promise<{ items: readonly ListItem[]; waitedMs: number }> {
  const start = performance.now();
  for (;;) {
    const leftMs = timeoutMs - (performance.now() - start);
    const seen = await look(wanted, Math.min(5000, Math.max(1000, leftMs)), args, io);
    const waitedMs = performance.now() - start;
    if (seen.kind === "served") return { items: seen.items, waitedMs };
    if (waitedMs + pauseMs > timeoutMs) throw tooLate(seen.why, timeoutMs);
    await sleep(pauseMs);
  }
}

async function look(
  wanted: readonly Wanted[],
  patienceMs: number,
  args: ProfileArgs,
  io: Io,
): Promise<Look> {
  const callDaemon = daemonAt(args, io);
  try {
    const input = { profile: args.profile };
    const health = await callDaemon("health", input, { patienceMs });
    const items = wanted.length === 0 ? [] : await callDaemon("list", input, { patienceMs });
    const lack = lacking(health, items, wanted);
    if (lack === undefined) return { kind: "served", items };
    return { kind: "lacking", why: new NgrokdError("timeout", lack, { hint: showsMore }) };
  } catch (error) {
    if (!(error instanceof NgrokdError) || !passing.includes(error.code)) throw error;
    return { kind: "lacking", why: error };
  }
}

const showsMore = "`ngrokd status` and `ngrokd why NAME` show more";

/** Of a daemon that is not up yet, is busy, or stops to start again. */
const passing: readonly ErrorCode[] = ["not-running", "timeout", "aborted"];

function tooLate(why: NgrokdError, timeoutMs: number): NgrokdError {
  const code = why.code === "not-running" ? "not-running" : "timeout";
  const head = timeoutMs === 0 ? "Not served yet" : `Waited ${timeoutMs / 1000} s in vain`;
  return new NgrokdError(code, `${head}: ${why.message}`, {
    cause: why,
    ...(why.hint !== undefined && { hint: why.hint }),
  });
}

function parseWanted(text: string): Wanted {
  const question = parseQuestion(text);
  if (question.ok) return question.value;
  throw new NgrokdError("usage", `Cannot wait for this name: ${question.reason}`, {
    hint: "`ngrokd list` shows the names",
  });
}

function parseSeconds(text: string): number {
  const seconds = /^\d+(?:\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
  if (seconds <= maxSeconds) return seconds;
  throw new NgrokdError(
    "usage",
    `The flag --timeout is wrong: ${quote(text)} is not a number of seconds`,
    {
      hint: `such as --timeout 20; at most ${maxSeconds}`,
    },
  );
}
