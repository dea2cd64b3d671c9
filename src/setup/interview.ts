import { keysOf } from "../config/profiles.ts";
import { anyRange } from "../config/values.ts";
import { socketGroup } from "../model/access.ts";
import { quote } from "../model/parsed.ts";
import type { Ask, Option } from "./ask.ts";
import {
  type Answers,
  type Facts,
  isMember,
  isServiceSetUp,
  type Modes,
  type Wishes,
} from "./facts.ts";
import { modesOf, needsInterface } from "./modes.ts";

/** Pure: the answers without a question. */
export const answersFor = (facts: Facts, wishes: Wishes): Answers => ({
  ...wishes,
  service: wishes.service ?? facts.abilities.service.can,
  takeOver: wishes.takeOver ?? false,
});

/**
 * Asks for the answers that neither the command line nor this machine has. With
 * `all` it asks for all.
 */
export async function interview(
  ask: Ask,
  facts: Facts,
  wishes: Wishes,
  { all }: { readonly all: boolean },
): Promise<Answers> {
  if (facts.scope === "user") return answersFor(facts, wishes);
  const isFirst = all || keysOf(facts.loaded).length === 0;
  const modes = isFirst ? await askModes(ask, facts, wishes, all) : wishes;
  const service = await askService(ask, facts, wishes, all);
  const takeOver = service && (await askTakeOver(ask, facts, wishes));
  const member =
    service && (isFirst || !isServiceSetUp(facts))
      ? await askMember(ask, facts, wishes)
      : wishes.member;
  return { ...wishes, ...modes, service, takeOver, member };
}

async function askModes(ask: Ask, facts: Facts, wishes: Wishes, all: boolean): Promise<Modes> {
  const decided: Modes = {
    addresses: wishes.addresses,
    wildcards: wishes.wildcards,
    share: wishes.share,
  };
  if (Object.values(decided).some((mode) => mode !== undefined)) return decided;
  const now = modesOf(facts.loaded.config);
  const isUsual = now.addresses === "loopback" && now.wildcards === false && now.share === "nobody";
  if (!all) {
    const way = await ask.choose(
      "How should the names of your endpoints work here?",
      [
        {
          value: "as it is",
          name: isUsual ? "As usual" : "As configured",
          about: isUsual
            ? "Each name gets an address of its own on loopback, and a line in the hosts file. " +
              "Only this machine can use it."
            : modesText(now),
        },
        {
          value: "choose",
          name: "Let me choose",
          about: "Asks for addresses, wildcards, and other machines.",
        },
      ],
      "as it is",
    );
    if (way === "as it is") return {};
  }
  const chosen = await ask.choose(
    "Which addresses?",
    addressOptions(facts),
    now.addresses ?? "loopback",
  );
  const wildcards = canServeWildcards(facts)
    ? await ask.confirm(wildcardQuestion(facts, chosen), now.wildcards ?? false)
    : undefined;
  return {
    addresses: wildcards === true && needsInterface(facts) ? "interface" : chosen,
    wildcards,
    share: await askShare(ask, now.share ?? "nobody"),
  };
}

const canServeWildcards = (facts: Facts): boolean =>
  facts.abilities.interface.can || !needsInterface(facts);

/** Pure: the modes in words. */
export function modesText({ addresses, wildcards, share }: Modes): string {
  const words = [
    addresses === "interface" ? "addresses on a virtual interface" : "loopback addresses",
    wildcards === true ? "the hosts file and DNS" : "the hosts file",
    share === "everybody"
      ? "every machine may connect"
      : typeof share === "object"
        ? `${share.join(", ")} may connect`
        : "only this machine may connect",
  ];
  return words.join(", ");
}

const addressOptions = ({ abilities }: Facts): Option<"loopback" | "interface">[] => [
  {
    value: "loopback",
    name: "Loopback, 127.0.0.0/8",
    about: "Needs nothing of the machine, and fits most programs.",
  },
  {
    value: "interface",
    name: "A virtual interface, with IPv6",
    about: "For containers, and for programs that treat loopback in their own way.",
    cannot: abilities.interface.can ? undefined : abilities.interface.why,
  },
];

/** Pure: says what the answer changes on this machine. */
export function wildcardQuestion(facts: Facts, addresses: Modes["addresses"]): string {
  const told =
    needsInterface(facts) && addresses !== "interface"
      ? "makes a virtual interface for systemd-resolved"
      : "tells systemd-resolved";
  const does = {
    resolved: told,
    dnsmasq: "tells NetworkManager's dnsmasq",
    folder: "writes to /etc/resolver",
    "resolv-conf": "changes /etc/resolv.conf",
    "by-hand": "the resolver is told by hand",
  }[facts.way];
  return `Serve wildcards such as *.team.internal? (${does})`;
}

async function askShare(ask: Ask, now: NonNullable<Modes["share"]>): Promise<Modes["share"]> {
  const present = typeof now === "string" ? now : "some";
  const share = await ask.choose(
    "Who may use your endpoints through this machine?",
    [
      { value: "nobody", name: "Only its own programs" },
      { value: "some", name: "Some other machines, by their addresses" },
      {
        value: "everybody",
        name: "Every machine that reaches it",
        about: "Whoever reaches this machine can then use all your private endpoints.",
      },
    ],
    present,
  );
  if (share !== "some") return share;
  return rangesIn(
    await ask.text("Their addresses, such as 192.0.2.7, 10.0.0.0/8:", (text) => {
      const wrong = rangesIn(text).find((range) => anyRange(range) === undefined);
      if (wrong !== undefined) return `${quote(wrong)} is no address and no range of addresses`;
      return rangesIn(text).length === 0 ? "Type at least one address or range" : undefined;
    }),
  );
}

/** Pure: the ranges in a text, as `access.rules` has them if they are right. */
export const rangesIn = (text: string): string[] =>
  text
    .split(/[\s,]+/)
    .filter((range) => range !== "")
    .map((range) => anyRange(range) ?? range);

async function askService(
  ask: Ask,
  facts: Facts,
  { service }: Wishes,
  all: boolean,
): Promise<boolean> {
  if (service !== undefined) return service;
  if (!facts.abilities.service.can) return false;
  if (isServiceSetUp(facts) && !all) return true;
  return await ask.confirm("Start ngrokd now and at every boot, as a service?", true);
}

async function askTakeOver(ask: Ask, { unit }: Facts, { takeOver }: Wishes): Promise<boolean> {
  if (takeOver !== undefined || unit !== "predecessor") return takeOver ?? false;
  return await ask.confirm(
    "The service of the Go program named ngrokd is installed. Stop it, and take over?",
    true,
  );
}

async function askMember(ask: Ask, facts: Facts, wishes: Wishes): Promise<string | undefined> {
  const { sudoUser, abilities } = facts;
  if (wishes.member !== undefined || sudoUser === undefined) return wishes.member;
  if (!abilities.group.can || isMember(facts, sudoUser)) return undefined;
  const question = `May ${sudoUser} use ngrokd without sudo, as a member of the group "${socketGroup}"?`;
  return (await ask.confirm(question, true)) ? sudoUser : undefined;
}
