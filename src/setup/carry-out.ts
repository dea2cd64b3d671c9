import { setTimeout as sleep } from "node:timers/promises";
import { createConfig, setConfigAside, setConfigValue, setConfigValues } from "../config/write.ts";
import { unlessAborted } from "../model/abort.ts";
import { NgrokdError } from "../model/error.ts";
import { carryOut, planVerb, thisManager } from "../service/manage.ts";
import type { Say } from "../terminal/say.ts";
import type { Facts, KeyAnswer } from "./facts.ts";
import type { Change, Plan, ServiceChange } from "./plan.ts";
import { changeText, doneText } from "./plan-text.ts";

/** What the changes need beside this room. */
export interface Hands {
  /** Saves the key, through the daemon if one runs. */
  readonly giveKey: (key: string, offline: boolean) => Promise<unknown>;
  /** The daemon takes the configuration. */
  readonly reload: () => Promise<unknown>;
  readonly say: Pick<Say, "note" | "awaiting" | "width">;
  /** Aborts when the user wants to end. */
  readonly stop: AbortSignal;
}

/**
 * Makes the changes in their order. Rejects at the first that fails, or at once
 * with NgrokdError `cancelled` when the user ends it. What has been done stays,
 * each file is whole, and another run goes on from there.
 */
export async function carryOutPlan(
  { changes }: Plan,
  facts: Facts,
  key: KeyAnswer,
  hands: Hands,
): Promise<void> {
  for (const [i, change] of changes.entries()) {
    const ended = (): NgrokdError => endedEarly(changes.slice(0, i));
    const said = await unlessEnded(hands.stop, ended, () => make(change, facts, key, hands));
    hands.say.note(doneText(said ?? changeText(change), hands.say.width));
  }
}

/** Does the work, or rejects with the error as soon as the user ends it. */
export async function unlessEnded<T>(
  stop: AbortSignal,
  error: () => NgrokdError,
  work: () => Promise<T>,
): Promise<T> {
  if (stop.aborted) throw error();
  try {
    return await unlessAborted(work(), stop);
  } catch (failure) {
    // Ctrl-C ends the programs of a step, too, and may arrive here later.
    await sleep(100);
    throw stop.aborted ? error() : failure;
  }
}

/** Returns a better text than the plan's, if there is one. */
async function make(
  change: Change,
  { scope, isRunning }: Facts,
  key: KeyAnswer,
  hands: Hands,
): Promise<string | undefined> {
  switch (change.kind) {
    case "set-aside":
      return `keep the old file as ${await setConfigAside(change.path, new Date())}`;
    case "create":
      await createConfig(change.path);
      return undefined;
    case "key":
      if (key.kind !== "save") return undefined;
      // The daemon has an account of its own, and not the user's.
      if (scope === "user") await setConfigValue(change.path, "api.key", key.key);
      else await hands.giveKey(key.key, !key.isChecked);
      return undefined;
    case "settings":
      await setConfigValues(change.path, change.wishes);
      if (isRunning) await hands.reload();
      return undefined;
    case "service":
      await hands.say.awaiting("Waiting for the service manager", () => makeService(change));
      return undefined;
  }
}

async function makeService({ steps, stateFolder, restart }: ServiceChange): Promise<void> {
  await carryOut(steps, stateFolder);
  if (restart) await carryOut(await planVerb(thisManager(), "restart"));
}

function endedEarly(done: readonly Change[]): NgrokdError {
  const what =
    done.length === 0
      ? "perhaps in the middle of its first step"
      : `this is done: ${done.map(changeText).join("; ")}`;
  return new NgrokdError("cancelled", `Setup has ended early; ${what}`, {
    hint: "`ngrokd setup` goes on from here",
  });
}
