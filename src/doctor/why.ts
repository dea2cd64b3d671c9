/** `ngrokd why`: follows one name to the service behind ngrok, step by step. */
import type { ListItem } from "../desk/reply-schemas.ts";
import { parseApiKey } from "../model/api-key.ts";
import { bindingsOf } from "../model/binding.ts";
import { isNgrokdError, reasonOf } from "../model/error.ts";
import { parseHostname } from "../model/hostname.ts";
import { readable } from "../model/parsed.ts";
import { closest } from "../model/similar.ts";
import { createFetch, hostToLookUp } from "../net/fetch.ts";
import { holdersOf } from "../net/socket-holders.ts";
import { accessFacts, judgeAccess } from "./access-findings.ts";
import { type ApiFacts, askApi } from "./api-findings.ts";
import { attempt } from "./attempt.ts";
import { judgeAddress } from "./by-address.ts";
import { broken, type Finding, failure, notChecked, ok, warning } from "./finding.ts";
import {
  gather,
  identityOf,
  type Local,
  localOf,
  type Place,
  profileOf,
  statusOf,
  wayToIngress,
} from "./gather.ts";
import { judgeEndpointTrial, judgeIngress, type Target, tryIngress } from "./ingress-findings.ts";
import { judgeDaemon, judgeDns, judgeListener } from "./judge.ts";
import { judgeName, resolved } from "./name-findings.ts";
import { isAt, isNamed, meantBy, type Question, subjectOf, unserved } from "./question.ts";
import { socketsAt } from "./sockets.ts";

/** The steps of one endpoint, from its name to ngrok's response. */
export interface Way {
  /** `host:port`, or the question itself if no endpoint fits. */
  readonly subject: string;
  readonly steps: readonly Finding[];
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
  const among = place.profile === undefined ? daemon.value.list : ofThis(local, daemon.value.list);
  const items = meantBy(question, among);
  if (items.length === 0)
    return [
      { subject: subjectOf(question), steps: [running, await unknown(question, place, local)] },
    ];
  // A degraded daemon may still serve this endpoint.
  const first = running.level === "failure" ? { ...running, level: "warning" as const } : running;
  return await Promise.all(
    items.map(async (item) => {
      const theirs = await localOf(local, item.profile ?? profileOf(local));
      return item.state === "wildcard"
        ? await followedBelow(item, question.host, first, place, theirs)
        : await followed(question, item, first, place, theirs);
    }),
  );
}

/** If there is one profile only, no item names it. */
const ofThis = (local: Local, list: readonly ListItem[]): ListItem[] =>
  list.filter(({ profile }) => profile === undefined || profile === profileOf(local));

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
  const facts = await tryIngress(net, settings.value, [target], {
    pace: { atOnce: 1, budgetMs: 0 },
    identity: identityOf({ loaded }),
  });
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
    lookedUp: hostToLookUp(new URL(loaded.config.api.url), loaded.proxy),
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
