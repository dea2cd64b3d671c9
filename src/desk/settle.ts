import { hintOf, reasonOf } from "../model/error.ts";
import { sameFailure } from "../model/failure.ts";
import type { PassResult, Reconciled } from "../model/pass.ts";
import type { State } from "../model/state.ts";
import { changeLines, type Line } from "./tell.ts";

/**
 * Pure: what a pass makes of the state that everybody reads, and what the log
 * says of it: what has changed, once.
 */
export function settled(
  state: State,
  result: PassResult,
  { at, tookMs }: { at: Date; tookMs: number },
): { change: Partial<State>; lines: Line[] } {
  switch (result.kind) {
    case "idle": {
      const [reason, hint] = [noKey, "run `ngrokd set-api-key`"];
      const lines: Line[] = [
        { level: "warn", text: "There is no API key, so endpoints cannot be listed", hint },
      ];
      const change: Partial<State> = {
        phase: "degraded",
        reason,
        hint,
        lastPass: { at, ok: false, tookMs, reason, hint },
      };
      return { change, lines: state.reason === reason ? [] : lines };
    }
    case "failed":
    case "gone": {
      const { reconciled, resumed } =
        result.kind === "failed" ? result : { reconciled: undefined, resumed: false };
      const { endpoints, problems } = reconciled ?? { endpoints: state.endpoints, problems: [] };
      const reason = [reasonOf(result.error), ...problems.map((problem) => problem.reason)].join(
        "; ",
      );
      const hint = hintOf(result.error) || hintIn(problems);
      const warnings = reconciled === undefined ? state.warnings : resumed ? [resumedWarning] : [];
      // What has to be seen again was told as such.
      const known = result.kind === "gone" || sameFailure(state.lastPass?.reason ?? "", reason);
      const failed: Line[] = known
        ? []
        : [{ level: "warn", text: `The poll failed: ${reason}`, hint }];
      const told = warnings
        .filter((warning) => !state.warnings.includes(warning))
        .map((text): Line => ({ level: "warn", text }));
      return {
        change: {
          phase: "degraded",
          reason,
          hint,
          lastPass: { at, ok: false, tookMs, reason, hint },
          endpoints,
          warnings,
        },
        lines: [...failed, ...told, ...changeLines(state.endpoints, endpoints)],
      };
    }
    case "ok":
    case "confirm": {
      const { endpoints, problems } = result.reconciled ?? {
        endpoints: state.endpoints,
        problems: [],
      };
      // A list that has to be seen again leaves what was resumed as it is.
      const warnings = result.reconciled === undefined ? state.warnings : [];
      const reason = problems.map((problem) => problem.reason).join("; ");
      const hint = hintIn(problems);
      const ok = reason === "";
      const troubles = problems.map(
        (problem): Line => ({ level: "warn", text: problem.reason, hint: problem.hint }),
      );
      const failedBefore = state.lastPass?.ok === false && state.lastPass.reason !== noKey;
      const again: Line[] =
        ok && failedBefore ? [{ level: "info", text: "The poll works again" }] : [];
      return {
        change: {
          phase: ok ? "serving" : "degraded",
          reason,
          hint,
          lastPass: { at, ok, tookMs, reason, hint },
          endpoints,
          warnings,
        },
        lines: [
          ...again,
          ...changeLines(state.endpoints, endpoints),
          ...(state.reason === reason ? [] : troubles),
        ],
      };
    }
  }
}

const noKey = "there is no API key";
const resumedWarning = "Endpoints are those from before this start: ngrok's API cannot be asked";

const hintIn = (problems: Reconciled["problems"]): string =>
  problems.find(({ hint }) => hint !== "")?.hint ?? "";
