import { hintOf, reasonOf } from "../model/error.ts";
import type { PassResult } from "./pass.ts";
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
      return { change, lines: known ? [] : [{ level: "warn", text: `The poll failed: ${reason}`, hint }] };
    }
    case "ok":
    case "confirm": {
      const { endpoints, problems } = result.reconciled ?? { endpoints: state.endpoints, problems: [] };
      const reason = problems.map((problem) => problem.reason).join("; ");
      const hint = problems.find((problem) => problem.hint !== "")?.hint ?? "";
      const ok = reason === "";
      const again: Line[] = ok && state.lastPass?.ok === false ? [{ level: "info", text: "The poll works again" }] : [];
      const troubles = problems.map((problem): Line => ({ level: "warn", text: problem.reason, hint: problem.hint }));
      return {
        change: { phase: ok ? "serving" : "degraded", reason, hint, lastPass: { at, ok, tookMs, reason, hint }, endpoints },
        lines: [...again, ...changeLines(state.endpoints, endpoints), ...(state.reason === reason ? [] : troubles)],
      };
    }
  }
}
