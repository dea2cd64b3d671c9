/** Pure: findings from the facts of this machine. */
import type { Inspection } from "../config/load.ts";
import { problemText } from "../config/problem.ts";
import type { ListItem, Status } from "../desk/reply-schemas.ts";
import { type Exposed, exposedText } from "../files/writers.ts";
import { urlOf } from "../model/endpoint.ts";
import { type Env, leftOutIn, trustedVariables } from "../model/environment.ts";
import { hintOf, isNgrokdError, reasonOf } from "../model/error.ts";
import { readable } from "../model/parsed.ts";
import type { ListeningSocket } from "../net/proc-net.ts";
import type { Attempt } from "./attempt.ts";
import type { ProcessFacts } from "./daemon-process.ts";
import {
  brokenBy,
  type Check,
  type Finding,
  failure,
  ok,
  runWithSudo,
  warning,
} from "./finding.ts";
import { socketsAt } from "./sockets.ts";

/**
 * `uid`: of this process, undefined if the system has none. `denied`: some file
 * could not be read for lack of rights.
 */
export function judgePrivileges(uid: number | undefined, denied: boolean): Finding[] {
  if (uid === undefined) return [];
  if (uid === 0) return [ok("privileges", "root: everything can be checked")];
  if (!denied) return [ok("privileges", `user ID ${uid}, which may read all that was checked`)];
  return [
    warning("privileges", "you are not root, and some of this cannot be checked", runWithSudo),
  ];
}

/**
 * `env` belongs to the daemon, or to this command if the daemon's is not known.
 * Returns no finding if there is no fault.
 */
export function judgeEnvironment(env: Env, of: "daemon" | "command"): Finding[] {
  const whose = of === "daemon" ? "the daemon's" : "this command's";
  const leftOut = leftOutIn(env).sort();
  const counting = trustedVariables(env);
  const code = counting.filter((name) => name !== "NODE_EXTRA_CA_CERTS");
  return [
    ...(leftOut.length === 0
      ? []
      : [
          warning(
            "environment",
            `the ${of} was started with ${leftOut.join(", ")}, without effect`,
            `remove them: the runtime reads them before ngrokd begins${
              leftOut.includes("BUN_OPTIONS") ? ", and BUN_OPTIONS runs code then" : ""
            }`,
          ),
        ]),
    ...code.map((name) =>
      warning(
        "environment",
        `${name} of ${whose} environment counts: it changes which code runs`,
        "remove it unless it is meant",
      ),
    ),
    ...(code.length === counting.length
      ? []
      : [
          ok(
            "environment",
            `NODE_EXTRA_CA_CERTS of ${whose} environment counts: its CAs are trusted for the API`,
          ),
        ]),
  ];
}

export function judgeConfiguration(
  inspection: Attempt<Inspection>,
  status: Status | undefined,
): Finding[] {
  if (!inspection.ok) return brokenBy("configuration", inspection);
  const { path, exists, problems, warnings } = inspection.value;
  const findings = [
    ...problems.map((problem) => failure("configuration", problemText(problem))),
    ...warnings.map((problem) => warning("configuration", problemText(problem))),
  ];
  const last = findings.at(-1);
  if (
    last !== undefined &&
    (problems.length > 0 || warnings.some(({ kind }) => kind !== "open-mode"))
  ) {
    findings.splice(-1, 1, { ...last, fix: "correct it with `ngrokd config edit`" });
  }
  if (status !== undefined && status.config_path !== path) {
    findings.push(
      warning(
        "configuration",
        `the daemon was started with another file, "${status.config_path}"`,
        `add --config ${status.config_path}`,
      ),
    );
  }
  if (findings.length > 0) return findings;
  return [
    ok(
      "configuration",
      exists ? `"${path}" is valid` : `there is no "${path}": every setting has its default`,
    ),
  ];
}

/**
 * `api` and `ingress`: the proxies of this command as texts without passwords;
 * empty without a proxy.
 */
export function judgeProxy(
  ours: { api: string; ingress: string },
  status: Status | undefined,
): Finding {
  const text = (way: string): string => (way === "" ? "directly" : `through ${way}`);
  const both = (ways: { api: string; ingress: string }): string =>
    ways.api === ways.ingress
      ? `API and ingress are reached ${text(ways.api)}`
      : `the API is reached ${text(ways.api)}, the ingress ${text(ways.ingress)}`;
  if (
    status !== undefined &&
    (status.proxy.api !== ours.api || status.proxy.ingress !== ours.ingress)
  ) {
    const fix =
      "the daemon may have another environment: set `forward.proxy_url` in the configuration, for both";
    return warning(
      "proxy",
      `the daemon and this command reach ngrok in different ways; for the daemon, ${both(status.proxy)}`,
      fix,
    );
  }
  return ok("proxy", both(ours));
}

export function judgeDaemon(daemon: Attempt<{ status: Status }>): Finding[] {
  if (!daemon.ok) {
    const { error } = daemon;
    if (isNgrokdError(error, "permission")) {
      return [warning("daemon", `not checked: ${reasonOf(error)}`, hintOf(error))];
    }
    return [failure("daemon", reasonOf(error), hintOf(error))];
  }
  const { version, pid, phase, reason, hint, warnings } = daemon.value.status;
  const who = `ngrokd ${version} (pid ${pid})`;
  const said = reason === "" ? "" : `: ${reason}`;
  const state =
    phase === "serving"
      ? ok("daemon", `${who} is serving`)
      : phase === "degraded"
        ? failure("daemon", `${who} is degraded${said}`, hint)
        : warning("daemon", `${who} is ${phase}${said}`, hint || "wait a moment, and look again");
  return [state, ...warnings.map((text) => warning("daemon", text))];
}

/**
 * `mode`: of the socket's file. Undefined without a file: the daemon's finding
 * reports that. `readers`: `server.socket_read`, undefined if the configuration
 * cannot be read.
 */
export function judgeSocket(
  path: string,
  mode: number | undefined,
  readers: "group" | "all" | undefined,
): Finding[] {
  if (mode === undefined) return [];
  const text = `"${path}" has the mode ${mode.toString(8).padStart(4, "0")}`;
  if ((mode & 0o006) === 0) return [ok("socket", text)];
  if (readers === "all")
    return [ok("socket", `${text}: every user may ask, by \`server.socket_read: all\``)];
  if (readers === undefined)
    return [
      warning(
        "socket",
        `${text}: every user may use it`,
        "that is right if `server.socket_read` is all",
      ),
    ];
  return [
    failure(
      "socket",
      `${text}: every user may control the daemon`,
      `run \`chmod 660 ${path}\`, and find out what has changed it`,
    ),
  ];
}

/** Where the addresses come from. Loopback gives no finding. */
export function judgeNetwork({ network }: Status): Finding[] {
  if (network.kind === "loopback") return [];
  const subnets = [network.subnet, network.subnet6].filter((text) => text !== "").join(" and ");
  return [ok("network", `names get addresses of ${subnets} on the interface ${network.interface}`)];
}

/**
 * The files that others can change. A hosts file of another user's is a choice
 * that some make; all else gives that user the daemon's rights.
 */
export function judgeWriters(found: readonly Exposed[]): Finding[] {
  if (found.length === 0)
    return [ok("writers", "nobody else may change configuration, state, CAs and hosts file")];
  return found.map((one) =>
    (one.kind === "hosts file" ? warning : failure)(
      "writers",
      exposedText(one),
      `run \`sudo ${one.fix}\``,
    ),
  );
}

/** Each connection takes two descriptors, so a lower limit serves few. */
const fewFiles = 4096;

export function judgeFiles(
  { openFiles }: ProcessFacts,
  { connections, endpoints, files }: Status,
): Finding[] {
  const room = connections.limit;
  if (files.limit === null && room === null) return [];
  const raise = "raise it: `LimitNOFILE=65536` in the systemd unit, or `ulimit -n`";
  const limit =
    files.limit === null
      ? ""
      : openFiles === undefined
        ? `at most ${files.limit} files may be open`
        : `${openFiles} of at most ${files.limit} files are open`;
  const carried =
    room === null ? "" : `room for ${room} connections, ${connections.active} are open`;
  const text = [limit, carried].filter((part) => part !== "").join("; ");
  const raiseAny = `${raise}; the memory and \`forward.max_connections\` limit connections too, and the log names the limit`;
  if (room !== null && connections.active >= room)
    return [failure("files", `the limit is reached: ${text}`, raiseAny)];
  if (room !== null && connections.active > room * 0.8)
    return [warning("files", `the limit is near: ${text}`, raiseAny)];
  if (files.limit !== null && files.limit < Math.max(fewFiles, 2 * endpoints.listening))
    return [warning("files", `few: ${text}`, raise)];
  return [ok("files", text)];
}

/** Whether programs find the names below wildcards, as the daemon knows. */
export function judgeDns({ dns }: Status): Finding[] {
  if (dns === undefined) return [];
  const { listening, trouble, way, zones } = dns;
  if (trouble !== "") return [failure("dns", trouble)];
  const names = zones.map((zone) => `*.${zone}`).join(", ");
  return [
    names === ""
      ? ok("dns", `it listens on ${listening}, and no wildcard is served`)
      : ok("dns", `it listens on ${listening}, and is asked for ${names} (${way})`),
  ];
}

/**
 * Whether an endpoint of the daemon's list listens. `sockets`: the kernel's
 * list. `holders`: programs by the inodes of their sockets.
 */
export function judgeListener(
  check: Check,
  item: ListItem,
  sockets: readonly ListeningSocket[] | undefined,
  holders: ReadonlyMap<string, string>,
): Finding {
  const url = readable(urlOf(item));
  const place = `${item.ip}:${item.port}`;
  const there =
    sockets === undefined || item.ip === "" ? [] : socketsAt(sockets, item.ip, item.port);
  switch (item.state) {
    case "unsupported":
      return warning(check, `${url} cannot be served: ${item.reason}`);
    case "refused":
      return warning(check, `${url} is refused: ${item.reason}`);
    case "paused":
      return ok(check, `${url}: ${item.reason}`);
    case "wildcard":
      return ok(check, `${url} stands for the names below it`);
    case "draining":
      return ok(check, `${url} is gone, its last connections are ending`);
    case "failed": {
      const holder = there
        .map(({ inode }) => holders.get(inode))
        .find((name) => name !== undefined);
      const by = holder === undefined ? "" : `; it is ${holder}`;
      const fix =
        there.length === 0
          ? "every poll tries again; `ngrokd refresh` does it now"
          : `stop that program, or let it listen on other addresses than ${place}`;
      return failure(check, `${url}: ${item.reason}${by}`, fix);
    }
    case "listening":
      if (sockets === undefined || there.length > 0) return judgeForOthers(check, item, place);
      return failure(
        check,
        `${url}: the daemon says that it listens on ${place}, but no program does`,
        "is the daemon in a container? then run this there; else restart it",
      );
  }
}

/** A listener, and the one for other machines if there should be one. */
function judgeForOthers(check: Check, item: ListItem, place: string): Finding {
  const { listen_interface: listen, network_port: port, warning: trouble } = item;
  const text = `${readable(urlOf(item))} listens on ${place}`;
  if (listen === "virtual") return ok(check, text);
  if (port === 0) return warning(check, `${text}, but ${trouble}`, "see `net.listen_interface`");
  return ok(check, `${text}, and for other machines on port ${port} of "${listen}"`);
}

/**
 * Summarizes findings of one check: one line for all good ones, and one for
 * each bad one, at most `shown`. `well` makes the text from the number.
 */
export function summed(
  check: Check,
  findings: readonly Finding[],
  well: (n: number) => string,
  shown: number,
): Finding[] {
  const bad = findings
    .filter(({ level }) => level !== "ok")
    .sort((a, b) => Number(b.level === "failure") - Number(a.level === "failure"));
  const good = findings.length - bad.length;
  const more = bad.slice(shown);
  const rest = more.some(({ level }) => level === "failure") ? failure : warning;
  return [
    ...(good > 0 ? [ok(check, well(good))] : []),
    ...bad.slice(0, shown),
    ...(more.length > 0 ? [rest(check, `and ${more.length} more`, "add --all to see each")] : []),
  ];
}
