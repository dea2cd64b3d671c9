import type { Subject } from "../exposure/verdict.ts";
import { randomHex } from "../model/random.ts";
import type { ResolvConf } from "../model/resolv-conf.ts";
import type { Answer, Ask } from "./question.ts";

export interface LookUpDeps {
  readonly ask: Ask;
  readonly conf: ResolvConf & {
    /**
     * The servers behind a local one that may read our lines of the hosts file.
     */
    readonly uplinks?: readonly string[];
  };
  /** Whether an address is one that ngrokd itself has given to a name. */
  readonly isOwn: (address: string) => boolean;
  /** The time for all questions together. Milliseconds; default: 1500. */
  readonly budgetMs?: number;
}

/** How many questions are open at a time. */
const atOnce = 16;
/** The most search domains that a short name is tried with. */
const mostSearched = 6;

/**
 * Asks the name servers about all these names, and calls `found` for each. The
 * first question is for a name that does not exist. Without a reply to it, the
 * servers count as silent, and no other question is sent. A network with a
 * login page answers every question with the same address, so an address for
 * that name does not count. After `budgetMs` the servers count as silent about
 * the rest: many limit how much they are asked. Never rejects.
 */
export async function lookUp(
  subjects: readonly Subject[],
  deps: LookUpDeps,
  found: (subject: Subject, answer: Answer) => void,
): Promise<void> {
  const { ask, conf, budgetMs = 1500 } = deps;
  const end = performance.now() + budgetMs;
  const lies = createLies((name) => ask(name, conf.servers));
  const lie = await lies.about("com");
  if (lie.kind === "silent") {
    for (const subject of subjects) found(subject, lie);
    return;
  }
  const waiting = subjects.values();
  const work = async (): Promise<void> => {
    for (const subject of waiting)
      found(subject, performance.now() > end ? silence : await meaningOf(subject, deps, lies, lie));
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, subjects.length) }, work));
}

const silence: Answer = { kind: "silent" };

/** The answers to names that do not exist, by the domain above them. */
interface Lies {
  about(domain: string): Promise<Answer>;
}

function createLies(ask: (name: string) => Promise<Answer>): Lies {
  const known = new Map<string, Promise<Answer>>();
  return {
    about(domain) {
      const answer = known.get(domain) ?? ask(`${randomHex(8)}.${domain}`);
      known.set(domain, answer);
      return answer;
    },
  };
}

async function meaningOf(
  subject: Subject,
  { ask, conf, isOwn }: LookUpDeps,
  lies: Lies,
  lie: Answer,
): Promise<Answer> {
  const zone = subject.startsWith("*.") ? subject.slice(2) : undefined;
  const ownAnswer = async (name: string, lie: Answer): Promise<Answer> => {
    const first = await ask(name, conf.servers);
    const isOurs = first.kind === "addresses" && first.addresses.some(isOwn);
    const { uplinks = [] } = conf;
    const answer = isOurs && uplinks.length > 0 ? await ask(name, uplinks) : first;
    return honest(answer, lie, isOwn);
  };
  if (zone !== undefined) {
    const [above, below] = [await ownAnswer(zone, lie), await lies.about(zone)];
    const all = honest(below, lie, isOwn);
    // A name without an address has others below it.
    const isUsed = above.kind === "empty" || all.kind === "empty";
    if (above.kind === "addresses" || above.kind === "silent") return above;
    return isUsed ? { kind: "addresses", addresses: [] } : all;
  }
  const domains = subject.includes(".") ? [] : conf.search.slice(0, mostSearched);
  let answer = await ownAnswer(subject, lie);
  for (const domain of domains) {
    if (answer.kind === "addresses") break;
    const full = await ownAnswer(`${subject}.${domain}`, await lies.about(domain));
    if (full.kind === "addresses") answer = full;
  }
  return answer;
}

/** Pure: an answer without the addresses that say nothing about the name. */
function honest(answer: Answer, lie: Answer, isOwn: LookUpDeps["isOwn"]): Answer {
  if (answer.kind === "empty") return lie.kind === "empty" ? { kind: "none" } : answer;
  if (answer.kind !== "addresses") return answer;
  if (lie.kind === "addresses" && lie.addresses.length > 0) {
    const same = answer.addresses.every((address) => lie.addresses.includes(address));
    if (same) return { kind: "none" };
  }
  const others = answer.addresses.filter((address) => !isOwn(address));
  return answer.addresses.length > 0 && others.length === 0
    ? { kind: "none" }
    : { kind: "addresses", addresses: others };
}
