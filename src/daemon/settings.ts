import { type Change, changesBetween, takenOver } from "../config/changes.ts";
import type { Inspection, Loaded } from "../config/load.ts";
import { configError, type Problem, problemText } from "../config/problem.ts";
import { type Config, type SettingKey, withValueAt } from "../config/schema.ts";
import { valueCode } from "../config/template.ts";
import type { ReloadReport } from "../desk/reply-schemas.ts";
import type { ApiKey } from "../model/api-key.ts";
import { reasonOf } from "../model/error.ts";
import type { Log } from "../model/log.ts";

/**
 * The settings in effect: the one place that replaces them while the daemon
 * runs.
 */
export interface Settings {
  readonly current: Loaded;
  /**
   * What a person should look at: a configuration that could not be taken over,
   * and what waits for the next start.
   */
  readonly warnings: readonly string[];
  /**
   * Reads the configuration again and takes over what has changed, and only
   * that; one that is wrong changes nothing. One at a time: a call while
   * another is at work reads once more after it. Never rejects.
   */
  reload(): Promise<ReloadReport>;
  /**
   * This key stands in the file by our own hand: when it is read again, nothing
   * has changed.
   */
  savedKey(key: ApiKey): void;
}

export interface SettingsDeps {
  readonly loaded: Loaded;
  /**
   * Reads the configuration as the daemon's start did; may reject where the
   * file cannot be read at all.
   */
  readonly read: () => Promise<Inspection>;
  /**
   * What the machine has against these settings, such as a CA that is not
   * there; it is asked before anything changes.
   */
  readonly check: (next: Loaded) => Promise<readonly Problem[]>;
  /**
   * Does what the changes ask for; {@link Settings.current} has them already.
   * Must not reject.
   */
  readonly apply: (jobs: ReadonlySet<Job>) => Promise<void>;
  readonly log: Log;
}

export function createSettings({ loaded, read, check, apply, log }: SettingsDeps): Settings {
  let current = loaded;
  let refused: readonly Problem[] = [];
  let waiting: readonly string[] = [];
  let odd = loaded.warnings.map(problemText);
  let last: Promise<unknown> = Promise.resolve();

  return {
    get current() {
      return current;
    },
    get warnings() {
      return [refusalText(refused), ...waiting].filter((text) => text !== "");
    },
    reload() {
      const next = last.then(reloadNow);
      last = next;
      return next;
    },
    savedKey(key) {
      if (current.origins["api.key"].startsWith("environment")) return;
      const config = withValueAt(current.config, ["api", "key"], key) as Config;
      current = { ...current, config, origins: { ...current.origins, "api.key": "file" } };
    },
  };

  async function reloadNow(): Promise<ReloadReport> {
    const before = current;
    const { loaded: next, problems, warnings } = await inspect();
    tellRefused(problems);
    tellOdd(warnings);
    const changes = next === undefined ? [] : changesBetween(before, next);
    if (next !== undefined) {
      current = takenOver(before, next);
      tellWaiting(changes);
      await takeOver(changes);
    }
    return {
      ok: next !== undefined,
      config_path: before.path,
      changes,
      problems: [...problems],
      warnings: [...warnings],
    };
  }

  async function inspect(): Promise<Pick<Inspection, "loaded" | "problems" | "warnings">> {
    try {
      const found = await read();
      const { loaded: next } = found;
      if (next === undefined) return found;
      const problems = [...lost(found, current, next), ...(await check(next))];
      return problems.length === 0 ? found : { ...found, problems, loaded: undefined };
    } catch (error) {
      const message = reasonOf(error).replace(
        `Cannot read the configuration "${current.path}"`,
        "it cannot be read",
      );
      return {
        loaded: undefined,
        warnings: [],
        problems: [{ kind: "wrong-value", source: current.path, message }],
      };
    }
  }

  async function takeOver(changes: readonly Change[]): Promise<void> {
    const inert = changes.filter(({ counts }) => counts === "never");
    for (const { key } of inert) log.warn(`${key} has changed, and has no effect in this version`);
    const taken = changes.filter(({ counts }) => counts === "now");
    if (taken.length === 0) return;
    await apply(jobsOf(taken));
    log.info(`Reloaded the configuration: ${taken.map(changeText).join("; ")}`);
  }

  function tellRefused(problems: readonly Problem[]): void {
    const [before, now] = [refusalText(refused), refusalText(problems)];
    refused = problems;
    if (now === before) return;
    if (now === "") log.info(`The configuration "${current.path}" is right again`);
    else log.warn(now, { hint: configError(current.path, problems).hint });
  }

  function tellWaiting(changes: readonly Change[]): void {
    const before = waiting;
    waiting = changes.filter(({ counts }) => counts === "restart").map(waitingText);
    for (const text of waiting) if (!before.includes(text)) log.warn(text);
  }

  function tellOdd(warnings: readonly Problem[]): void {
    const before = odd;
    odd = warnings.map(problemText);
    for (const text of odd) if (!before.includes(text)) log.warn(text);
  }
}

/**
 * What has to be done about a change beside reading the new value wherever it
 * is used.
 */
export type Job =
  /** How and what the log tells. */
  | "log"
  | "health"
  | "key"
  /** How the outside is reached. */
  | "proxy"
  | "trust"
  | "verification"
  /** What is ready, or could be resumed, was made for other settings. */
  | "ingress"
  | "range"
  /** There is something to find out, or to be done by a pass. */
  | "poll";

const jobs: Readonly<Partial<Record<SettingKey, readonly Job[]>>> = {
  "api.url": ["poll"],
  "api.key": ["key", "poll"],
  ingressEndpoint: ["ingress", "poll"],
  "server.log_level": ["log"],
  "server.log_format": ["log"],
  "server.cert_refresh_interval": ["poll"],
  "server.health_address": ["health"],
  "server.health_port": ["health"],
  "server.ingress_ca": ["trust"],
  "server.insecure_skip_verify": ["ingress", "verification"],
  "bound_endpoints.poll_interval": ["poll"],
  "bound_endpoints.selectors": ["poll"],
  "forward.proxy_url": ["proxy", "ingress", "poll"],
  "forward.session_resumption": ["ingress"],
  "forward.pool.min": ["ingress"],
  "forward.pool.max": ["ingress"],
  "forward.pool.idle_timeout": ["ingress"],
  "net.subnet": ["range", "poll"],
};

/**
 * Pure: what these changes ask for. Limits and deadlines are not among it: the
 * next connection finds them.
 */
export function jobsOf(changes: readonly Change[]): ReadonlySet<Job> {
  return new Set(changes.flatMap(({ key }) => jobs[key] ?? []));
}

/**
 * A file that is gone or empty would put every setting at its default, the API
 * key included. That is a slip, or an editor that has failed; nobody means it.
 */
function lost({ exists, blank }: Inspection, before: Loaded, next: Loaded): Problem[] {
  if ((exists && !blank) || changesBetween(before, next).length === 0) return [];
  const what = exists ? "it is empty now" : "there is no such file any more";
  return [
    {
      kind: "wrong-value",
      source: before.path,
      message: `${what}; where that is meant, restart the daemon`,
    },
  ];
}

/** More problems than this are counted: `config check` shows all. */
const shown = 5;

/** Empty where there are none. */
function refusalText(problems: readonly Problem[]): string {
  if (problems.length === 0) return "";
  const rest = problems.length > shown ? `; and ${problems.length - shown} more` : "";
  const texts = problems.slice(0, shown).map(problemText).join("; ");
  return `The configuration cannot be used, and the daemon goes on with the one that it has: ${texts}${rest}`;
}

const changeText = ({ key, to }: Change): string => `${key} is ${valueCode(to)}`;

const waitingText = ({ key, from, to }: Change): string =>
  `${key} has changed to ${valueCode(to)}, which needs a restart of the daemon; until then it is ${valueCode(from)}`;
