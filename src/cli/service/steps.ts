import type { Step } from "../../service/service-steps.ts";
import type { Say } from "../../terminal/say.ts";

export const dryRunArg = {
  "dry-run": { type: "boolean", description: "Only print what would be written and run" },
} as const;

/** Prints the steps for `--dry-run`. */
export function sayPlanned(say: Say, steps: readonly Step[]): void {
  say.result({ dry_run: true, steps }, () => steps.map((step) => stepText(step, say)).join("\n"));
}

function stepText(step: Step, { paint }: Say): string {
  switch (step.kind) {
    case "folder":
      return (
        `${paint.bold("make the folder")} ${step.path} (mode ${modeText(step.mode)}), ` +
        "if it is missing"
      );
    case "write": {
      const text = step.text.replaceAll(/^(?=.)/gm, "    ");
      return `${paint.bold("write")} ${step.path} (mode ${modeText(step.mode)}):\n\n${text}`;
    }
    case "remove":
      return `${paint.bold("remove")} ${step.path}`;
    case "wait":
      return `${paint.bold("wait")} until the service has ended`;
    case "run": {
      const remark =
        step.mayFail !== undefined || step.if !== undefined
          ? paint.dim(" (may have nothing to do)")
          : "";
      return `${paint.bold("run")} ${step.command.join(" ")}${remark}`;
    }
  }
}

const modeText = (mode: number): string => mode.toString(8).padStart(4, "0");
