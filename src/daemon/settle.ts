import { hintOf, reasonOf } from "../model/error.ts";
import type { PassResult } from "./pass.ts";
import type { Reconciled } from "./reconcile.ts";
import type { State } from "./state.ts";
import { changeLines, type Line, sameFailure } from "./tell.ts";

/** Pure: what a pass makes of the state that everybody reads, and what the log says of it: what has changed, once. */
export function settled(
  state: State,
  result: PassResult,
  { at, tookMs }: { at: Date; tookMs: number },
): { change: Partial<State>; lines: Line[] } {
  switch (result.kind) {
    case "idle": {
      const [reason, hint] = ["there is no API key", "run `ngrokd set-api-key`"];
      const lines: Line[] = [{ level: "warn", text: "There is no API key, so endpoints cannot be listed", hint }];
      return { change: { phase: "degraded", reason, hint }, lines: state.reason === reason ? [] : lines };
    }
    case "failed":
    case "gone": {
      const [reason, hint] = [reasonOf(result.error), hintOf(result.error)];
      // What has to be seen again was told as such.
      const known = result.kind === "gone" || sameFailure(state.lastPass?.reason ?? "", reason);
      const change: Partial<State> = { phase: "degraded", reason, hint, lastPass: { at, ok: false, tookMs, reason, hint } };
      const failed: Line[] = known ? [] : [{ level: "warn", text: `The poll failed: ${reason}`, hint }];
      const resumed = result.kind === "failed" ? result.reconciled : undefined;
      if (resumed === undefined) return { change, lines: failed };
      const { endpoints, problems } = resumed;
      return {
        change: { ...change, endpoints, warnings: [resumedWarning] },
        lines: [...failed, { level: "warn", text: resumedWarning }, ...changeLines(state.endpoints, endpoints), ...problemLines(problems)],
      };
    }
    case "ok":
    case "confirm": {
      const { endpoints, problems } = result.reconciled ?? { endpoints: state.endpoints, problems: [] };
      // A list that has to be seen again leaves what was resumed as it is.
      const warnings = result.reconciled === undefined ? state.warnings : [];
      const reason = problems.map((problem) => problem.reason).join("; ");
      const hint = problems.find((problem) => problem.hint !== "")?.hint ?? "";
      const ok = reason === "";
      const again: Line[] = ok && state.lastPass?.ok === false ? [{ level: "info", text: "The poll works again" }] : [];
      return {
        change: { phase: ok ? "serving" : "degraded", reason, hint, lastPass: { at, ok, tookMs, reason, hint }, endpoints, warnings },
        lines: [...again, ...changeLines(state.endpoints, endpoints), ...(state.reason === reason ? [] : problemLines(problems))],
      };
    }
  }
}

const resumedWarning = "Endpoints are those from before this start: ngrok's API cannot be asked";

const problemLines = (problems: Reconciled["problems"]): Line[] =>
  problems.map(({ reason, hint }) => ({ level: "warn", text: reason, hint }));
