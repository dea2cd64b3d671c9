import { type Default, type Refusal, type Rule, ruleFor, type Wanted } from "./access.ts";

/** What the texts need beside the refusal. */
export interface Surroundings {
  readonly nameOf: (uid: number) => string | undefined;
  /** The place of a rule in the configuration, as `/etc/…/config.yml:12`. */
  readonly placeOf: (rule: Rule) => string;
}

export interface RefusalText {
  /** The same for all clients of a kind, so that the log has it once. */
  readonly reason: string;
  /** {@link reason}, with the address of another machine. */
  readonly detail: string;
  readonly hint: string;
}

/** Pure: a refusal in words. */
export function refusalText(
  { client, rule }: Refusal,
  { host, port }: Wanted,
  { nameOf, placeOf }: Surroundings,
): RefusalText {
  const who = client.kind === "user" ? userText(client.uid, nameOf) : "another machine";
  const by =
    rule === undefined
      ? "no rule of access.rules names it"
      : `access.rules[${rule.number}] (${placeOf(rule)}) does not name it`;
  const reason = `${who} may not connect, since ${by}`;
  if (client.kind === "user") {
    const name = client.uid === undefined ? undefined : (nameOf(client.uid) ?? client.uid);
    const hint =
      name === undefined
        ? "only a program that keeps its connection open has a known user"
        : `add "${name}" to the rule's \`users\`, or one of its groups to \`groups\``;
    return { reason, detail: reason, hint };
  }
  const { address } = client;
  const range = address.includes(":") ? `${address}/128` : `${address}/32`;
  const hint =
    rule === undefined
      ? `a rule such as \`{endpoint: "${host}:${port}", from: ["${range}"]}\` in access.rules lets it in`
      : `add "${range}" to the rule's \`from\``;
  return { reason, detail: `${reason} (${address})`, hint };
}

function userText(uid: number | undefined, nameOf: Surroundings["nameOf"]): string {
  if (uid === undefined) return "a program of an unknown user";
  const name = nameOf(uid);
  return name === undefined ? `the user ${uid}` : `the user "${name}" (${uid})`;
}

/** Pure: who may connect to an endpoint. */
export function accessText(
  rules: readonly Rule[],
  wanted: Wanted,
  { nameOf, placeOf }: Surroundings,
  without: Default,
): string {
  const rule = ruleFor(rules, wanted);
  if (rule === undefined)
    return without === "everybody"
      ? "every machine that reaches this one may connect"
      : "every user of this machine may connect, and no other machine";
  const { uids, from, number } = rule;
  const names = [...(uids ?? [])].map((uid) => nameOf(uid) ?? String(uid));
  const more = names.length > mostNamed ? ` and ${names.length - mostNamed} more users` : "";
  const named = `of this machine, ${names.slice(0, mostNamed).join(", ")}${more}`;
  const users =
    uids === undefined
      ? "every user of this machine"
      : names.length === 0
        ? "no user of this machine"
        : named;
  const machines = from.length === 0 ? "no other machine" : `machines in ${from.join(", ")}`;
  return `${users} may connect, and ${machines}, by access.rules[${number}] (${placeOf(rule)})`;
}

const mostNamed = 5;
