import { hintOf, reasonOf } from "../model/error.ts";
import { sameFailure } from "../model/failure.ts";
import type { Moment } from "../model/moment.ts";
import type { PassResult, Reconciled, Resumption } from "../model/pass.ts";
import { keyCommand, type State } from "../model/state.ts";
import { changeLines, type Line } from "./tell.ts";

/** The change of the published state after a pass, and its log lines. */
interface Outcome {
  readonly change: Partial<State>;
  readonly lines: Line[];
}

/** When the pass ended, and how long it took in milliseconds. */
interface Timing {
  readonly at: Moment;
  readonly tookMs: number;
}

/**
 * Pure: the new state after a pass, and log lines for the differences. A
 * failure that goes on is logged once.
 */
export function settled(state: State, result: PassResult | Resumption, timing: Timing): Outcome {
  switch (result.kind) {
    case "resumed":
      return resumed(state, result.reconciled);
    case "idle":
      return withoutKey(state, timing);
    case "failed":
      return failed(state, result, timing);
    case "gone":
      return failed(state, { error: result.error, isKnown: true }, timing);
    case "ok":
    case "confirm":
      return listed(state, result.reconciled, timing);
  }
}

/** ngrok was not asked yet: the phase stays, and no pass has ended. */
function resumed(state: State, { endpoints, problems }: Reconciled): Outcome {
  const troubles = problems.map(
    (problem): Line => ({ level: "warn", text: problem.reason, hint: problem.hint }),
  );
  return {
    change: { endpoints },
    lines: [...changeLines(state.endpoints, endpoints), ...troubles],
  };
}

function withoutKey(state: State, timing: Timing): Outcome {
  const [reason, hint] = [noKey, `run ${keyCommand(state)}`];
  const text = "There is no API key, so endpoints cannot be listed";
  return {
    change: {
      phase: "degraded",
      reason,
      hint,
      lastPass: { ...timing, ok: false, reason, hint },
    },
    lines: state.reason === reason ? [] : [{ level: "warn", text, hint }],
  };
}

interface Failure {
  readonly error: unknown;
  readonly reconciled?: Reconciled;
  readonly resumed?: boolean;
  /** The failed pass has already logged the error. */
  readonly isKnown?: boolean;
}

function failed(state: State, failure: Failure, timing: Timing): Outcome {
  const { error, reconciled, resumed = false } = failure;
  const { endpoints, problems } = reconciled ?? unchanged(state);
  const reason = [reasonOf(error), ...problems.map((problem) => problem.reason)].join("; ");
  const hint = hintOf(error) || hintIn(problems);
  const warnings = reconciled === undefined ? state.warnings : resumed ? [resumedWarning] : [];
  const isKnown = failure.isKnown ?? sameFailure(state.lastPass?.reason ?? "", reason);
  const news: Line[] = isKnown ? [] : [{ level: "warn", text: `The poll failed: ${reason}`, hint }];
  const newWarnings = warnings
    .filter((warning) => !state.warnings.includes(warning))
    .map((text): Line => ({ level: "warn", text }));
  return {
    change: {
      phase: "degraded",
      reason,
      hint,
      lastPass: { ...timing, ok: false, reason, hint },
      endpoints,
      warnings,
    },
    lines: [...news, ...newWarnings, ...changeLines(state.endpoints, endpoints)],
  };
}

/** `reconciled` is undefined for a list that counts only when seen again. */
function listed(state: State, reconciled: Reconciled | undefined, timing: Timing): Outcome {
  const { endpoints, problems: found } = reconciled ?? unchanged(state);
  const problems = [...found, ...mostlyFailed(endpoints)];
  const reason = problems.map((problem) => problem.reason).join("; ");
  const hint = hintIn(problems);
  const ok = reason === "";
  // What is served may be the list of an earlier run, or of another operator.
  const isDoubted = reconciled === undefined && state.phase !== "serving";
  const hadFailed = state.lastPass?.ok === false && state.lastPass.reason !== noKey;
  const recovery: Line[] = ok && hadFailed ? [{ level: "info", text: "The poll works again" }] : [];
  const troubles = problems.map(
    (problem): Line => ({ level: "warn", text: problem.reason, hint: problem.hint }),
  );
  return {
    change: {
      ...(isDoubted
        ? { phase: state.phase, reason: state.reason, hint: state.hint }
        : { phase: ok ? "serving" : "degraded", reason, hint }),
      lastPass: { ...timing, ok, reason, hint },
      endpoints,
      warnings: reconciled === undefined ? state.warnings : [],
    },
    lines: [
      ...recovery,
      ...changeLines(state.endpoints, endpoints),
      ...(state.reason === reason ? [] : troubles),
    ],
  };
}

/**
 * A few failed endpoints are their own trouble. If at least three and most of
 * them fail, the daemon does not do its work.
 */
function mostlyFailed(endpoints: State["endpoints"]): Reconciled["problems"] {
  const wanted = endpoints.filter(({ state }) => state === "listening" || state === "failed");
  const failed = wanted.filter(({ state }) => state === "failed").length;
  if (failed < 3 || failed * 2 <= wanted.length) return [];
  return [
    { reason: "most endpoints cannot be served", hint: "`ngrokd list` says why, for each of them" },
  ];
}

const noKey = "there is no API key";
const resumedWarning = "The endpoints are from before this start, since ngrok's API cannot be used";

const unchanged = ({ endpoints }: State): Reconciled => ({ endpoints, problems: [] });

const hintIn = (problems: Reconciled["problems"]): string =>
  problems.find(({ hint }) => hint !== "")?.hint ?? "";
