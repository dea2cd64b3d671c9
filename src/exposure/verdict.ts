import { matchesGlob } from "../model/glob.ts";
import { quote } from "../model/parsed.ts";

/**
 * A name whose serving is decided: a host name, or `*.zone` for the names of a
 * wildcard endpoint.
 */
export type Subject = string;

/** The user's word about names. Patterns are as of `matchesGlob`. */
export interface NameRules {
  readonly allow: readonly string[];
  readonly deny: readonly string[];
  /** If there is one, no other name is served. */
  readonly only: readonly string[];
  /** Names that the configuration itself gives: pins and aliases. */
  readonly named: ReadonlySet<Subject>;
  /** Names that `ngrokd pause` has taken away for a while. */
  readonly paused: ReadonlySet<Subject>;
}

/** The meaning of a name without ngrokd. */
export type Standing =
  /** None, or none that is known. */
  | { readonly kind: "free" }
  /** It was served before. */
  | { readonly kind: "kept" }
  /** The name servers give it these addresses, or know names below it. */
  | { readonly kind: "elsewhere"; readonly addresses: readonly string[] }
  /** People register names below it, such as `com` or `github.io`. */
  | { readonly kind: "suffix" }
  /** The resolver completes short names with it. */
  | { readonly kind: "searched" }
  /** Programs ask for it to find a proxy or a way by themselves. */
  | { readonly kind: "discovery" }
  /** The name servers have not replied yet. */
  | { readonly kind: "pending" };

export type Verdict =
  | { readonly kind: "served" }
  | { readonly kind: "paused"; readonly reason: string }
  | { readonly kind: "refused"; readonly reason: string };

/**
 * Pure: whether a name may be served. The account's list comes from outside, so
 * without a word of the user no name is served that means something else here.
 */
export function judgeName(subject: Subject, rules: NameRules, standing: Standing): Verdict {
  return byWord(subject, rules) ?? byStanding(subject, standing);
}

/**
 * Pure: the verdict that the user's word alone gives; undefined if it leaves
 * the decision to the standing of the name.
 */
export function byWord(subject: Subject, rules: NameRules): Verdict | undefined {
  const { allow, deny, only, named, paused } = rules;
  if (paused.has(subject))
    return { kind: "paused", reason: `it is paused; \`ngrokd resume ${subject}\` serves it again` };
  const against = deny.find((pattern) => matchesGlob(pattern, subject));
  if (against !== undefined) return { kind: "refused", reason: `names.deny has ${quote(against)}` };
  if (only.length > 0 && !only.some((pattern) => matchesGlob(pattern, subject)))
    return { kind: "refused", reason: `names.only has no pattern for ${quote(subject)}` };
  const isAllowed = named.has(subject) || allow.some((pattern) => matchesGlob(pattern, subject));
  return isAllowed ? served : undefined;
}

const served: Verdict = { kind: "served" };

function byStanding(subject: Subject, standing: Standing): Verdict {
  if (standing.kind === "free" || standing.kind === "kept") return served;
  const reason =
    standing.kind === "pending"
      ? `the name servers are asked whether ${quote(subject)} is in use`
      : `${meaningOf(subject, standing)}; ${lineFor(subject)} in the configuration allows it`;
  return { kind: "refused", reason };
}

/** The line of the configuration that allows a name. */
export const lineFor = (subject: Subject): string =>
  `names.allow: [${subject.startsWith("*") ? JSON.stringify(subject) : subject}]`;

/** Pure: a sentence about the meaning that a name has without ngrokd. */
export function meaningOf(subject: Subject, standing: Standing): string {
  const name = quote(subject);
  switch (standing.kind) {
    case "elsewhere":
      return standing.addresses.length === 0
        ? `${name} is in use without ngrokd`
        : `${name} leads to ${someOf(standing.addresses)} without ngrokd`;
    case "suffix":
      return `${name} is a public suffix, below which people register names`;
    case "searched":
      return `${name} is a search domain of this machine`;
    case "discovery":
      return `programs find their proxy or their way by ${name}`;
    case "pending":
      return `the meaning of ${name} is not known yet`;
    case "free":
    case "kept":
      return `${name} means nothing else`;
  }
}

function someOf(addresses: readonly string[]): string {
  const [first = "", second, ...more] = addresses;
  if (second === undefined) return first;
  return more.length === 0 ? `${first} and ${second}` : `${first} and ${more.length + 1} others`;
}

/**
 * Pure: the standing of a name as far as it is known without the name servers;
 * undefined if they must be asked. `isSuffix`: of the public suffix list.
 */
export function plainStanding(
  subject: Subject,
  facts: { readonly searched: readonly string[]; readonly isSuffix: (name: string) => boolean },
): Standing | undefined {
  const name = subject.replace(/^\*\./, "");
  if (facts.isSuffix(name)) return { kind: "suffix" };
  if (facts.searched.some((domain) => plain(domain) === name)) return { kind: "searched" };
  return /^(?:wpad|isatap)(?:\.|$)/.test(name) ? { kind: "discovery" } : undefined;
}

const plain = (domain: string): string => domain.toLowerCase().replace(/\.$/, "");
