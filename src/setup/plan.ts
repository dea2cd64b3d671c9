import { type Change as ConfigChange, changesBetween } from "../config/changes.ts";
import type { Loaded } from "../config/loaded.ts";
import type { Wish } from "../config/write.ts";
import { socketGroup } from "../model/access.ts";
import { NgrokdError } from "../model/error.ts";
import type { Step } from "../service/service-steps.ts";
import { type Answers, type Facts, isMember, isServiceSetUp, type KeyAnswer } from "./facts.ts";

/** One change of this machine, as plain data. */
export type Change =
  | { readonly kind: "set-aside"; readonly path: string }
  | { readonly kind: "create"; readonly path: string }
  | { readonly kind: "key"; readonly path: string; readonly key: KeyState }
  | {
      readonly kind: "settings";
      readonly path: string;
      readonly wishes: readonly Wish[];
      readonly changes: readonly ConfigChange[];
    }
  | ServiceChange;

/** `asked`: not known yet, since a dry run asks for no secret. */
export type KeyState = "accepted" | "unchecked" | "asked";

export interface ServiceChange {
  readonly kind: "service";
  readonly path: string;
  readonly does: "install" | "update" | "take-over" | "start" | "join";
  readonly member: string | undefined;
  /** It starts now, and not at the next boot alone. */
  readonly start: boolean;
  readonly restart: boolean;
  readonly steps: readonly Step[];
  /** For the journal. */
  readonly stateFolder: string;
}

export interface Plan {
  readonly changes: readonly Change[];
  /** Dangers, and problems of what is there. */
  readonly warnings: readonly string[];
  /** Facts that the user should know before the answer. */
  readonly notes: readonly string[];
}

/** The service's part, as `ngrokd service install` would do it. */
export interface ServiceDraft {
  readonly before: "none" | "same" | "different" | "predecessor";
  readonly path: string;
  readonly steps: readonly Step[];
  readonly stateFolder: string;
  readonly remarks: readonly string[];
}

export interface PlanInput {
  readonly facts: Facts;
  readonly answers: Answers;
  readonly key: KeyAnswer;
  readonly wishes: readonly Wish[];
  /** The configuration with the wishes. */
  readonly after: Loaded;
  /** Undefined if the service stays as it is. */
  readonly service: ServiceDraft | undefined;
}

/** Pure: the changes, in the order in which they are made. */
export function planOf(input: PlanInput): Plan {
  const { facts, key, wishes, after } = input;
  const { path } = facts.loaded;
  const changes: Change[] = [];
  if (facts.isBroken) changes.push({ kind: "set-aside", path });
  else if (facts.text === undefined) changes.push({ kind: "create", path });
  if (key.kind !== "keep") changes.push({ kind: "key", path, key: stateOf(key) });
  if (wishes.length > 0)
    changes.push({
      kind: "settings",
      path,
      wishes,
      changes: changesBetween(facts.loaded, after),
    });
  const service = serviceChange(input);
  if (service !== undefined) changes.push(service);
  return { changes, warnings: warningsFor(input), notes: notesFor(input, service) };
}

const stateOf = (key: Exclude<KeyAnswer, { kind: "keep" }>): KeyState =>
  key.kind === "ask" ? "asked" : key.isChecked ? "accepted" : "unchecked";

function serviceChange({ facts, answers, service }: PlanInput): ServiceChange | undefined {
  if (service === undefined) return undefined;
  const { before, path, steps, stateFolder } = service;
  const member = newMember(facts, answers.member);
  const isSame = before === "same";
  if (isSame && isServiceSetUp(facts) && member === undefined) return undefined;
  const does =
    before === "none"
      ? "install"
      : before === "predecessor"
        ? "take-over"
        : before === "different"
          ? "update"
          : isServiceSetUp(facts)
            ? "join"
            : "start";
  // A daemon gives its socket to the group at its start.
  const restart =
    facts.service.isUp &&
    (before === "different" || (member !== undefined && facts.members === undefined));
  const start = startsNow(facts);
  return { kind: "service", path, does, member, start, restart, steps, stateFolder };
}

/** Pure: a daemon of another kind would be in the way of the service's. */
export const startsNow = ({ isRunning, service, unit }: Facts): boolean =>
  !isRunning || service.isUp || unit === "predecessor";

/** Pure: the user who is not a member yet. */
export const newMember = (facts: Facts, user: string | undefined): string | undefined =>
  user === undefined || isMember(facts, user) ? undefined : user;

function warningsFor({ facts, answers, key, after, service }: PlanInput): string[] {
  const { net, access } = after.config;
  const isOpen =
    net.listen_interface !== "virtual" && !access.rules.some(({ endpoint }) => endpoint === "*");
  const warnings = [...(service?.remarks ?? [])];
  if (isOpen && facts.scope === "machine")
    warnings.push(
      "every machine that reaches this one may use your endpoints; " +
        "--share 10.0.0.0/8 names the addresses that may",
    );
  if (answers.share === "nobody" && access.rules.some(({ from }) => from !== undefined))
    warnings.push("access.rules still has rules for other machines (`from`), which stay");
  if (key.kind === "save" && !key.isChecked)
    warnings.push("ngrok was not asked about the key; the daemon tries it with each poll");
  return warnings;
}

function notesFor({ facts, answers }: PlanInput, change: ServiceChange | undefined): string[] {
  const notes: string[] = [];
  if (change !== undefined && !change.start)
    notes.push(
      "a daemon runs already, and not as the service: the service starts with the next boot, " +
        "or with `sudo ngrokd service start` when the other one has ended",
    );
  if (change?.member !== undefined)
    notes.push(
      `${change.member} may then do all that ngrokd can, as a member of the group ` +
        `"${socketGroup}", from the next login on`,
    );
  if (facts.scope === "machine" && !answers.service && !facts.isRunning)
    notes.push(withoutService(facts));
  return notes;
}

function withoutService({ abilities: { service } }: Facts): string {
  if (service.can) return "no service is installed";
  const advice = service.hint === undefined ? "" : `. ${service.hint}`;
  return `no service is installed (${service.why})${advice}`;
}

/** An error's own sentence stays as it is. */
const sentence = (why: string): string =>
  why.startsWith("Cannot ") ? why : `Cannot install the service: ${why}`;

/**
 * Pure: throws if the service is wished and cannot be. Without a question, the
 * Go program's service is not taken over.
 */
export function checkService(facts: Facts, { service, takeOver, member }: Answers): void {
  const { abilities, unit } = facts;
  if (member !== undefined && (!service || !abilities.group.can))
    throw new NgrokdError("usage", `Cannot add "${member}" to the group "${socketGroup}"`, {
      hint: whyNoMember(abilities),
    });
  if (!service) return;
  if (!abilities.service.can)
    throw new NgrokdError("refused", sentence(abilities.service.why), {
      hint: [abilities.service.hint, "--no-service leaves it out"]
        .filter((line) => line !== undefined)
        .join("\n"),
    });
  if (unit === "predecessor" && !takeOver)
    throw new NgrokdError(
      "usage",
      "The service of the Go program named ngrokd is installed, and was not to be replaced",
      { hint: "--take-over stops it and keeps its unit beside; --no-service leaves it alone" },
    );
}

function whyNoMember({ group, service }: Facts["abilities"]): string {
  if (!group.can) return group.why;
  const why = service.can ? "leave out --no-service" : service.why;
  return `the group is made with the service: ${why}`;
}
