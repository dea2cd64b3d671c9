/** `ngrokd why`: follows one name to the service behind ngrok, step by step. */
import type { ListItem } from "../desk/reply-schemas.ts";
import { hasName } from "../desk/waiting.ts";
import { parseApiKey } from "../model/api-key.ts";
import { bindingsOf } from "../model/binding.ts";
import { isNgrokdError, reasonOf } from "../model/error.ts";
import { parseHostname } from "../model/hostname.ts";
import { parseIp, parseIp6 } from "../model/ip.ts";
import { type Parsed, parsed, quote, readable, unparsed } from "../model/parsed.ts";
import { closest } from "../model/similar.ts";
import { createFetch, lookedUp } from "../net/fetch.ts";
import { holdersOf } from "../net/socket-holders.ts";
import { accessFacts, judgeAccess } from "./access-findings.ts";
import { type ApiFacts, askApi } from "./api-findings.ts";
import { attempt } from "./attempt.ts";
import { judgeAddress } from "./by-address.ts";
import { broken, type Finding, failure, notChecked, ok, warning } from "./finding.ts";
import { gather, type Local, type Place, statusOf, wayToIngress } from "./gather.ts";
import { judgeEndpointTrial, judgeIngress, type Target, tryIngress } from "./ingress-findings.ts";
import { judgeDaemon, judgeDns, judgeListener } from "./judge.ts";
import { judgeName, resolved } from "./name-findings.ts";
import { socketsAt } from "./sockets.ts";

/** The subject of `ngrokd why`. */
export interface Question {
  /** A host name, or an address from ngrokd. */
  readonly host: string;
  /** Undefined if the text has no port. */
  readonly port: number | undefined;
}

/** The steps of one endpoint, from its name to ngrok's response. */
export interface Way {
  /** `host:port`, or the question itself if no endpoint fits. */
  readonly subject: string;
  readonly steps: readonly Finding[];
}

const defaultPorts: Readonly<Record<string, number>> = { http: 80, https: 443, tls: 443 };

/**
 * Reads `host`, `host:port` or a URL with any path. Upper case and a trailing
 * dot are allowed.
 */
export function parseQuestion(text: string): Parsed<Question> {
  const ip6 = parseIp6(text.trim().replace(/^\[(.*)\]$/, "$1"));
  if (ip6.ok) return parsed({ host: ip6.value, port: undefined });
  const parts = partsOf(text);
  if (parts === undefined) return unparsed(`${quote(text)} is neither host[:port] nor a URL`);
  const { name, port } = parts;
  if (port !== undefined && (port < 1 || port > 65535))
    return unparsed(`the port of ${quote(text)} is not 1 to 65535`);
  const ip = parseIp(name);
  if (ip.ok) return parsed({ host: ip.value, port });
  const host = parseHostname(name);
  return host.ok ? parsed({ host: host.value, port }) : host;
}

/** The name and the port in a text, both unchecked. */
function partsOf(text: string): { name: string; port: number | undefined } | undefined {
  const match =
    /^(?:([a-z][a-z0-9+.-]*):\/\/)?(?:[^/?#@]*@)?([^/?#:@]*)(?::(\d{1,5}))?(?:[/?#].*)?$/is.exec(
      text.trim(),
    );
  if (match === null) return undefined;
  const [, scheme = "", name = "", port] = match;
  return { name, port: port === undefined ? defaultPorts[scheme.toLowerCase()] : Number(port) };
}

/**
 * Follows every endpoint that matches the question. Returns at least one way.
 * Changes nothing, shows no secret. Rejects if `--config` or NGROKD_CONFIG
 * names a file that cannot be read: then the daemon is unknown.
 */
export async function explain(question: Question, place: Place): Promise<Way[]> {
  const local = await gather(place);
  const { daemon, socketPath } = local;
  if (!daemon.ok && socketPath === undefined) throw daemon.error;
  if (!daemon.ok) return [await withoutDaemon(question, place, local)];
  const [running = failure("daemon", "it does not answer")] = judgeDaemon(daemon);
  const items = meantBy(question, daemon.value.list);
  if (items.length === 0)
    return [
      { subject: subjectOf(question), steps: [running, await unknown(question, place, local)] },
    ];
  // A degraded daemon may still serve this endpoint.
  const first = running.level === "failure" ? { ...running, level: "warning" as const } : running;
  return await Promise.all(
    items.map((item) =>
      item.state === "wildcard" && question.host !== ""
        ? followedBelow(item, question.host, first, place, local)
        : followed(question, item, first, place, local),
    ),
  );
}

/**
 * Pure: the items of the daemon's list that match the question. An endpoint
 * that is not served may have only a URL. If that is a wildcard, it matches
 * names below it that no other endpoint has.
 */
export function meantBy(question: Question, list: readonly ListItem[]): ListItem[] {
  const there = list.filter(({ state }) => state !== "draining");
  const exact = there.filter((item) => isMeant(item, question));
  return exact.length > 0
    ? exact
    : longestAtEachPort(
        there.filter((item) => item.state in unnamed && isCovered(item.url, question)),
      );
}

/** A longer wildcard goes before a shorter one. */
function longestAtEachPort(items: readonly ListItem[]): ListItem[] {
  const sizeOf = ({ url }: ListItem): number => partsOf(url)?.name.length ?? 0;
  const byPort = new Map<number | undefined, ListItem>();
  for (const item of items.toSorted((a, b) => sizeOf(b) - sizeOf(a))) {
    const port = partsOf(item.url)?.port;
    if (!byPort.has(port)) byPort.set(port, item);
  }
  return items.filter((item) => [...byPort.values()].includes(item));
}

const unserved: Readonly<Partial<Record<ListItem["state"], string>>> = {
  unsupported: "it cannot be served",
  refused: "its name is refused",
  paused: "it is not served",
};
/** Endpoints in these states may have no host name. */
const unnamed = { ...unserved, wildcard: "" };

const isMeant = (item: ListItem, question: Question): boolean =>
  item.state in unnamed ? isNamed(item.url, question) : isAt(item, question);

const isAt = (item: ListItem, { host, port = item.port }: Question): boolean =>
  hasName(item, host) && [item.port, item.network_port].includes(port);

/**
 * Whether a URL, which may be invalid, has this name, and this port if both
 * have one.
 */
function isNamed(url: string, question: Question): boolean {
  const { name, port } = partsOf(url) ?? { name: "", port: undefined };
  return (
    name.toLowerCase().replace(/\.$/, "") === question.host &&
    (question.port ?? port) === (port ?? question.port)
  );
}

/** The same for a wildcard URL and a name below it, at any depth. */
function isCovered(url: string, question: Question): boolean {
  const { name = "" } = partsOf(url) ?? {};
  const zone = name.toLowerCase().replace(/\.$/, "");
  if (!zone.startsWith("*.") || !question.host.endsWith(zone.slice(1))) return false;
  const label = question.host.slice(0, -(zone.length - 1));
  return label !== "" && isNamed(url.replace("*", label), question);
}

const subjectOf = ({ host, port }: Question): string =>
  port === undefined ? host : `${host}:${port}`;

async function followed(
  question: Question,
  item: ListItem,
  running: Finding,
  place: Place,
  local: Local,
): Promise<Way> {
  const { hostname, ip, ip6, port, state, reason } = item;
  const name = item.aliases?.includes(question.host) === true ? question.host : hostname;
  const bound = ok("endpoint", `ngrok lists it as ${readable(item.url)}`);
  const why = unserved[state];
  if (why !== undefined) {
    return {
      subject: readable(item.url),
      steps: [running, bound, failure("listener", `${why}: ${reason}`)],
    };
  }
  const subject = `${name}:${port}`;
  const holders = await holdersOf(
    new Set(
      state === "failed" ? socketsAt(local.sockets ?? [], ip, port).map(({ inode }) => inode) : [],
    ),
  );
  const listener = judgeListener("listener", item, local.sockets, holders);
  const address =
    state === "listening"
      ? judgeName("name", {
          name,
          ip,
          ip6,
          resolved: await resolved(name),
          hosts: local.hosts,
          wildcard: item.url.includes("*"),
        })
      : undefined;
  const given = address ?? notChecked("name", "a name is written only while its address listens");
  const asAddress = judgeAddress(question, item);
  const names = asAddress === undefined ? [given] : [given, asAddress];
  const access = judgeAccess(item, accessFacts(local.loaded, place.env));
  const beyond = await through({ host: hostname, port }, place, local);
  const past = pastFailure(item, beyond);
  return {
    subject,
    steps: [running, bound, ...names, listener, ...access, ...beyond, ...past],
  };
}

/**
 * A name below a wildcard. It gets its address by the question of this command,
 * as by the first question of any program.
 */
async function followedBelow(
  { url, port }: ListItem,
  name: string,
  running: Finding,
  place: Place,
  local: Local,
): Promise<Way> {
  const found = await resolved(name);
  const [ip] = found.ok ? found.value : [];
  const status = statusOf(local);
  const trouble = status === undefined ? [] : judgeDns(status);
  const given =
    ip !== undefined
      ? ok("name", `"${name}" leads to ${ip}, by the DNS server`)
      : failure(
          "name",
          `"${name}" does not resolve`,
          "does the DNS server run? see the step below",
        );
  return {
    subject: `${name}:${port}`,
    steps: [
      running,
      ok("endpoint", `ngrok lists it as ${readable(url)}`),
      given,
      ...trouble,
      ...judgeAccess(
        { hostname: name, port, errors_by_kind: {} },
        accessFacts(local.loaded, place.env),
      ),
      ...(await through({ host: name, port }, place, local)),
    ],
  };
}

/**
 * The last failure of a connection, if our own connection works. A limit of the
 * daemon can cause it. The list drops it at the next success.
 */
function pastFailure({ connections }: ListItem, beyond: readonly Finding[]): Finding[] {
  if (connections.last_error === "" || beyond.some(({ level }) => level !== "ok")) return [];
  return [
    warning(
      "upgrade",
      `the latest connection of a program failed all the same: ${connections.last_error}`,
    ),
  ];
}

/** The two steps outside this machine. */
async function through(
  target: Target,
  { net }: Place,
  { loaded, state }: Local,
): Promise<Finding[]> {
  const settings = await attempt("Cannot find the way to the ingress", 4000, () =>
    wayToIngress(loaded, state),
  );
  if (!settings.ok) {
    const { error } = settings;
    return [
      isNgrokdError(error, "state")
        ? notChecked("ingress", reasonOf(error))
        : broken("ingress", error),
    ];
  }
  const facts = await tryIngress(net, settings.value, [target], { atOnce: 1, budgetMs: 0 });
  const [trial] = facts.trials;
  return [
    judgeIngress(facts),
    ...(trial === undefined ? [] : [judgeEndpointTrial("upgrade", trial)]),
  ];
}

/** Why the daemon's list has no such endpoint. */
async function unknown(question: Question, place: Place, local: Local): Promise<Finding> {
  const list = local.daemon.ok ? local.daemon.value.list : [];
  return judgeUnknown(question, list, (await listed(place, local))?.bound);
}

/**
 * Pure: the reason why the daemon's `list` has no such endpoint. `bound`: the
 * current endpoints from ngrok's API, undefined if it was not asked.
 */
export function judgeUnknown(
  question: Question,
  list: readonly ListItem[],
  bound: ApiFacts["bound"],
): Finding {
  const { host, port } = question;
  const { bindings, bad } = bindingsOf(bound?.ok ? bound.value : []);
  if (
    bindings.some((one) => one.host === host && (port ?? one.port) === one.port) ||
    bad.some(({ url }) => isNamed(url, question))
  ) {
    return failure(
      "endpoint",
      "ngrok lists it, and the daemon has not seen it yet",
      "run `ngrokd refresh`",
    );
  }
  const there = list.filter(({ state }) => state === "listening" || state === "failed");
  const ending = list.find((item) => item.state === "draining" && isAt(item, question));
  if (ending !== undefined) return judgeEnding(ending, there);
  const ports = [
    ...new Set(there.filter(({ hostname }) => hostname === host).map((item) => item.port)),
  ];
  if (ports.length > 0) {
    const served = `is served on ${ports.length === 1 ? "port" : "ports"} ${ports.join(" and ")}`;
    return failure(
      "endpoint",
      `"${host}" ${served}, and not on ${port}`,
      `use port ${ports.join(" or ")}`,
    );
  }
  const known = [...there.map(({ hostname }) => hostname), ...bindings.map((one) => one.host)];
  return unheardOf(question, known, bound !== undefined && !bound.ok);
}

/** A draining endpoint is gone, or has another address now. */
function judgeEnding({ hostname, ip, port }: ListItem, there: readonly ListItem[]): Finding {
  const subject = `${hostname}:${port}`;
  const moved = there.find((item) => item.hostname === hostname && item.port === port);
  if (moved !== undefined) {
    const where = moved.ip === "" ? "" : ` to ${moved.ip}`;
    return failure(
      "endpoint",
      `${subject} has moved${where}, and its last connections to ${ip} are ending`,
      "connect by the name",
    );
  }
  const fix = "if it is needed, create it again, or restore its binding `kubernetes`";
  return failure(
    "endpoint",
    `${subject} is gone from ngrok's list, and its last connections are ending`,
    fix,
  );
}

function unheardOf({ host }: Question, known: readonly string[], unasked: boolean): Finding {
  const near = closest(
    host,
    [...new Set(known)].filter((name) => name !== ""),
  );
  const what = `no endpoint that is bound to this machine has the name "${host}"${unasked ? " (ngrok's API could not be asked)" : ""}`;
  const bind = "does it exist, with the binding `kubernetes`? `ngrokd list` shows those that do";
  return failure("endpoint", what, near === undefined ? bind : `did you mean "${near}"?`);
}

async function listed({ net }: Place, { loaded, state }: Local): Promise<ApiFacts | undefined> {
  const found = state?.ok ? state.value.identity : undefined;
  if (loaded === undefined || found?.kind !== "identity") return undefined;
  return await askApi({
    url: loaded.config.api.url,
    key: parseApiKey(loaded.config.api.key),
    operatorId: found.identity.operatorId,
    fetch: createFetch(net, loaded.proxy),
    lookedUp: lookedUp(new URL(loaded.config.api.url), loaded.proxy),
    withBound: true,
  });
}

/** The steps that are known without a daemon, or without rights to ask it. */
async function withoutDaemon(question: Question, place: Place, local: Local): Promise<Way> {
  const steps = judgeDaemon(local.daemon).slice(0, 1);
  const api = await listed(place, local);
  const listedNow = api?.bound?.ok ? bindingsOf(api.bound.value) : undefined;
  const [first] =
    listedNow?.bindings.filter(
      ({ host, port }) => host === question.host && (question.port ?? port) === port,
    ) ?? [];
  const [unusable] = listedNow?.bad.filter(({ url }) => isNamed(url, question)) ?? [];
  if (listedNow === undefined)
    steps.push(notChecked("endpoint", "neither the daemon nor ngrok's API can be asked"));
  else if (first !== undefined)
    steps.push(ok("endpoint", `ngrok lists it as ${readable(first.url)}`));
  else if (unusable !== undefined) {
    steps.push(
      failure(
        "endpoint",
        `ngrok lists it as ${readable(unusable.url)}, and it cannot be served: ${unusable.reason}`,
      ),
    );
  } else {
    const known = listedNow.bindings.map(({ host }) => host);
    steps.push(unheardOf(question, known, false));
  }
  const lines = local.hosts.ok ? (local.hosts.value.names.get(question.host) ?? []) : [];
  const [ours, second] = lines.filter((line) => line.ours);
  if (ours !== undefined) {
    const { host: name } = question;
    steps.push(
      judgeName("name", {
        name,
        ip: ours.address,
        ip6: second?.address,
        resolved: await resolved(name),
        hosts: local.hosts,
      }),
    );
    const at = question.port ?? first?.port;
    if (at !== undefined && local.sockets !== undefined) {
      const listens = socketsAt(local.sockets, ours.address, at).length > 0;
      const text = `${ours.address}:${at}`;
      steps.push(
        listens
          ? ok("listener", `a program listens on ${text}`)
          : failure("listener", `no program listens on ${text}`, "start the daemon"),
      );
    }
  } else if (parseHostname(question.host).ok) {
    const path = local.hostsPath;
    steps.push(
      local.hosts.ok
        ? warning("name", `ngrokd has not written "${question.host}" into "${path}"`)
        : broken("hosts", local.hosts.error),
    );
  }
  if (first !== undefined) steps.push(...(await through(first, place, local)));
  return { subject: subjectOf(question), steps };
}
