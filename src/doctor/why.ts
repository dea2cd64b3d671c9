import type { ListItem } from "../control/protocol.ts";
import { parseApiKey } from "../model/api-key.ts";
import { bindingsOf } from "../model/binding.ts";
import { isNgrokdError, reasonOf } from "../model/error.ts";
import { parseHostname } from "../model/hostname.ts";
import { parseIp } from "../model/ip.ts";
import { type Parsed, parsed, quote, readable, unparsed } from "../model/parsed.ts";
import { closest } from "../model/similar.ts";
import { createFetch } from "../net/fetch.ts";
import { type ApiFacts, askApi } from "./api.ts";
import { broken, type Finding, failure, notChecked, ok, warning } from "./finding.ts";
import { gather, type Local, type Place, wayToIngress } from "./gather.ts";
import { judgeAsked, judgeIngress, type Target, tryIngress } from "./ingress.ts";
import { judgeDaemon, judgeListener } from "./judge.ts";
import { judgeName, resolved } from "./names.ts";
import { holdersOf, socketsAt } from "./sockets.ts";
import { tried } from "./tried.ts";

/** What a person asks about: a name or an address of ours, and a port where one was named. */
export interface Question {
  readonly host: string;
  readonly port: number | undefined;
}

/** The way of one endpoint, from its name to ngrok's answer, step by step. */
export interface Way {
  /** host:port, or the name as it was asked for where no endpoint has it. */
  readonly subject: string;
  readonly steps: readonly Finding[];
}

const defaultPorts: Readonly<Record<string, number>> = { http: 80, https: 443, tls: 443 };

/** Reads `host`, `host:port` or a URL, whatever its path; upper case and a dot at the end are fine. */
export function parseQuestion(text: string): Parsed<Question> {
  const match = /^(?:([a-z][a-z0-9+.-]*):\/\/)?(?:[^/?#@]*@)?([^/?#:@]*)(?::(\d{1,5}))?(?:[/?#].*)?$/is.exec(text.trim());
  if (match === null) return unparsed(`${quote(text)} is neither host[:port] nor a URL`);
  const [, scheme = "", name = "", portText] = match;
  const port = portText === undefined ? defaultPorts[scheme.toLowerCase()] : Number(portText);
  if (port !== undefined && (port < 1 || port > 65535)) return unparsed(`the port of ${quote(text)} is not 1 to 65535`);
  const ip = parseIp(name);
  if (ip.ok) return parsed({ host: ip.value, port });
  const host = parseHostname(name);
  return host.ok ? parsed({ host: host.value, port }) : host;
}

/** Follows every endpoint that the question means. Changes nothing, tells no secret, never rejects; at least one way. */
export async function explain(question: Question, place: Place): Promise<Way[]> {
  const local = await gather(place);
  const { daemon } = local;
  if (!daemon.ok) return [await withoutDaemon(question, place, local)];
  const [running = failure("daemon", "it does not answer")] = judgeDaemon(daemon);
  const items = daemon.value.list.filter((item) => item.state !== "draining" && isMeant(item, question));
  if (items.length === 0) return [{ subject: subjectOf(question), steps: [running, await unknown(question, place, local)] }];
  // A daemon in trouble may serve this endpoint all the same.
  const first = running.level === "failure" ? { ...running, level: "warning" as const } : running;
  return await Promise.all(items.map((item) => followed(item, first, place, local)));
}

const isMeant = (item: ListItem, { host, port }: Question): boolean =>
  (item.hostname === host || item.ip === host) && (port === undefined || item.port === port);

const subjectOf = ({ host, port }: Question): string => (port === undefined ? host : `${host}:${port}`);

async function followed(item: ListItem, running: Finding, place: Place, local: Local): Promise<Way> {
  const { hostname: name, ip, port, state, reason } = item;
  const subject = `${name}:${port}`;
  const bound = ok("endpoint", `ngrok lists it as ${readable(item.url)}`);
  if (state === "unsupported") return { subject, steps: [running, bound, failure("listener", `it cannot be served: ${reason}`)] };
  const holders = await holdersOf(new Set(state === "failed" ? socketsAt(local.sockets ?? [], ip, port).map(({ inode }) => inode) : []));
  const listener = judgeListener("listener", item, local.sockets, holders);
  const address = state === "listening" ? judgeName("name", { name, ip, resolved: await resolved(name), hosts: local.hosts }) : undefined;
  const given = address ?? notChecked("name", "a name is written only while its address listens");
  const beyond = await through({ host: name, port }, place, local);
  return { subject, steps: [running, bound, given, listener, ...beyond, ...pastFailure(item, beyond)] };
}

/** A failure that our own connection does not meet, such as a limit of the daemon's; the list forgets it at the next success. */
function pastFailure({ connections }: ListItem, beyond: readonly Finding[]): Finding[] {
  if (connections.last_error === "" || beyond.some(({ level }) => level !== "ok")) return [];
  return [warning("upgrade", `the latest connection of a program failed all the same: ${connections.last_error}`)];
}

/** The two steps beyond this machine. */
async function through(target: Target, { net }: Place, { loaded, state }: Local): Promise<Finding[]> {
  const settings = await tried("Cannot find the way to the ingress", 4000, () => wayToIngress(loaded, state));
  if (!settings.ok) {
    const { error } = settings;
    return [isNgrokdError(error, "state") ? notChecked("ingress", reasonOf(error)) : broken("ingress", error)];
  }
  const facts = await tryIngress(net, settings.value, [target], { atOnce: 1, budgetMs: 0 });
  const [asked] = facts.asked;
  return [judgeIngress(facts), ...(asked === undefined ? [] : [judgeAsked("upgrade", asked)])];
}

/** Why the daemon's list has no such endpoint. */
async function unknown(question: Question, place: Place, local: Local): Promise<Finding> {
  const known = local.daemon.ok ? local.daemon.value.list.map(({ hostname }) => hostname) : [];
  const samePort = local.daemon.ok ? local.daemon.value.list.filter(({ hostname }) => hostname === question.host) : [];
  if (samePort.length > 0) {
    const ports = samePort.map(({ port }) => port);
    const served = `is served on ${ports.length === 1 ? "port" : "ports"} ${ports.join(" and ")}`;
    return failure("endpoint", `"${question.host}" ${served}, and not on ${question.port}`, `use port ${ports.join(" or ")}`);
  }
  const api = await listed(place, local);
  const bound = api?.bound?.ok ? bindingsOf(api.bound.value).bindings : [];
  if (bound.some(({ host, port }) => host === question.host && (question.port ?? port) === port)) {
    return failure("endpoint", "ngrok lists it, and the daemon has not seen it yet", "run `ngrokd refresh`");
  }
  return unheardOf(question, [...known, ...bound.map(({ host }) => host)], api?.bound !== undefined && !api.bound.ok);
}

function unheardOf({ host }: Question, known: readonly string[], unasked: boolean): Finding {
  const near = closest(
    host,
    [...new Set(known)].filter((name) => name !== ""),
  );
  const what = `no endpoint that is bound to this machine has the name "${host}"${unasked ? " (ngrok's API could not be asked)" : ""}`;
  const bind = "does it exist, and has it the binding `kubernetes`? `ngrokd list` shows those that do";
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
    withBound: true,
  });
}

/** What can be told when the daemon cannot be asked: because it does not run, or because we may not. */
async function withoutDaemon(question: Question, place: Place, local: Local): Promise<Way> {
  const steps = judgeDaemon(local.daemon).slice(0, 1);
  const api = await listed(place, local);
  const bound = api?.bound?.ok ? bindingsOf(api.bound.value).bindings : undefined;
  const meant = bound?.filter(({ host, port }) => host === question.host && (question.port ?? port) === port) ?? [];
  const [first] = meant;
  if (bound === undefined) steps.push(notChecked("endpoint", "neither the daemon nor ngrok's API can be asked"));
  else if (first === undefined)
    steps.push(
      unheardOf(
        question,
        bound.map(({ host }) => host),
        false,
      ),
    );
  else steps.push(ok("endpoint", `ngrok lists it as ${readable(first.url)}`));
  const ours = local.hosts.ok ? (local.hosts.value.names.get(question.host) ?? []).find((line) => line.ours) : undefined;
  if (ours !== undefined) {
    const { host: name } = question;
    steps.push(judgeName("name", { name, ip: ours.address, resolved: await resolved(name), hosts: local.hosts }));
    const at = question.port ?? first?.port;
    if (at !== undefined && local.sockets !== undefined) {
      const listens = socketsAt(local.sockets, ours.address, at).length > 0;
      const text = `${ours.address}:${at}`;
      steps.push(
        listens ? ok("listener", `somebody listens on ${text}`) : failure("listener", `nobody listens on ${text}`, "start the daemon"),
      );
    }
  } else if (parseHostname(question.host).ok) {
    const path = local.hostsPath;
    steps.push(
      local.hosts.ok ? warning("name", `ngrokd has not written "${question.host}" into "${path}"`) : broken("hosts", local.hosts.error),
    );
  }
  if (first !== undefined) steps.push(...(await through(first, place, local)));
  return { subject: subjectOf(question), steps };
}
