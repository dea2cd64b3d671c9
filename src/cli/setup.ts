import { anyRange } from "../config/values.ts";
import type { ListItem } from "../desk/reply-schemas.ts";
import type { Finding } from "../doctor/finding.ts";
import { worst } from "../doctor/finding.ts";
import { isUserName } from "../model/access.ts";
import type { NgrokdError } from "../model/error.ts";
import { quote } from "../model/parsed.ts";
import { userConfigPath } from "../reach/place.ts";
import { type Ask, lines, prompts } from "../setup/ask.ts";
import { firstTry } from "../setup/ending.ts";
import type { Modes, Wishes } from "../setup/facts.ts";
import { rangesIn } from "../setup/interview.ts";
import { planText } from "../setup/plan-text.ts";
import { type Commands, type Outcome, setup } from "../setup/setup.ts";
import type { Paint, Say } from "../terminal/say.ts";
import { type Args, command, type Io } from "./command.ts";
import { daemonAt } from "./daemon-socket.ts";
import { verdict } from "./doctor.ts";
import { exitCodes } from "./exit-codes.ts";
import { findingsText } from "./findings-text.ts";
import { usageError } from "./flags.ts";
import { serviceArgs } from "./service/args.ts";
import { askKey, giveKey, readStdin } from "./set-api-key.ts";
import { untilServed } from "./wait.ts";

const setupArgs = {
  "api-key-file": {
    type: "string",
    valueHint: "file",
    description: 'A file with the API key, or "-" for stdin; else NGROK_API_KEY, or you are asked',
  },
  offline: { type: "boolean", description: "Save the key without a check" },
  addresses: {
    type: "string",
    valueHint: "loopback|interface",
    description: "Addresses of endpoints: loopback, or those of a virtual interface",
  },
  wildcards: {
    type: "boolean",
    description: "Serve names below wildcards, by DNS; --no-wildcards ends that",
  },
  share: {
    type: "string",
    valueHint: "nobody|everybody|RANGE,…",
    description: "The other machines that may use the endpoints through this one",
  },
  service: {
    type: "boolean",
    description: "Start ngrokd now and at every boot; --no-service leaves it as it is",
  },
  ...serviceArgs,
  user: {
    type: "boolean",
    description: "Without root, for this user alone: for `ngrokd exec` and `ngrokd connect`",
  },
  "set-aside": {
    type: "boolean",
    description: "Move a broken configuration aside, and begin with a new one",
  },
  "ask-all": { type: "boolean", description: "Also ask for answers that are known already" },
  yes: { type: "boolean", alias: "y", description: "Carry out the plan without asking" },
  "dry-run": { type: "boolean", description: "Only show the plan" },
} as const;

export default command({
  name: "setup",
  description: "Set up ngrokd: asks what is missing, shows the plan, does it, and checks all",
  args: setupArgs,
  examples: [
    "sudo ngrokd setup",
    "ngrokd setup --dry-run",
    "sudo ngrokd setup --yes --api-key-file /root/api-key",
    "sudo ngrokd setup --wildcards",
    "ngrokd setup --user",
  ],
  async run(args, io) {
    const { net, env, say } = io;
    const dryRun = args["dry-run"] === true;
    const yes = args.yes === true;
    const outcome = await setup({
      net,
      env,
      say,
      config: args.config,
      socket: args.socket,
      wishes: wishesOf(args),
      forUser: args.user === true,
      userConfig: userConfigPath(env),
      keyFile: args["api-key-file"],
      offline: args.offline === true,
      setAside: args["set-aside"] === true,
      dryRun,
      yes,
      all: args["ask-all"] === true,
      ask: yes || dryRun ? undefined : askOn(io),
      commands: commandsOf(args, io),
    });
    say.result(dryRun ? { dry_run: true, ...outcome.plan } : reportOf(outcome), () =>
      dryRun ? dryText(outcome, say) : endText(outcome, say),
    );
    const findings = outcome.ending?.findings ?? [];
    const isWell = (outcome.ending?.trouble ?? "") === "" && worst(findings) !== "failure";
    return isWell ? exitCodes.ok : exitCodes.failure;
  },
});

/** Undefined if nobody can be asked. */
function askOn({ say, env }: Io): Ask | undefined {
  if (say.json || process.stdin.isTTY !== true || process.stderr.isTTY !== true) return undefined;
  return env.TERM === "dumb" ? lines : prompts;
}

function commandsOf(args: { readonly socket?: string | undefined }, io: Io): Commands {
  const at = (config: string | undefined) => ({ config, socket: args.socket });
  return {
    askKey,
    readStdin,
    giveKey: (key, config, offline) => giveKey(key, { ...at(config), offline }, io),
    async reload(config) {
      const ask = daemonAt(at(config), io);
      await ask("reload");
      // Names may be on their way to other addresses until a pass has ended.
      return await ask("refresh");
    },
    untilReady: (config) => untilServed([], readyMs, at(config), io),
    list: (config) => daemonAt(at(config), io)("list"),
    stop: () => io.stop,
  };
}

/** The longest wait for the first poll. */
const readyMs = 60_000;

function wishesOf(args: Args<typeof setupArgs>): Wishes {
  const { addresses, wildcards, service } = args;
  if (addresses !== undefined && addresses !== "loopback" && addresses !== "interface")
    throw wrongFlag("addresses", addresses, "loopback or interface");
  const member = args["group-add"];
  if (member !== undefined && !isUserName(member))
    throw wrongFlag("group-add", member, "the name of a user");
  return {
    addresses,
    wildcards,
    share: shareIn(args.share),
    service,
    member,
    takeOver: args["take-over"],
  };
}

function shareIn(text: string | undefined): Modes["share"] {
  if (text === undefined || text === "nobody" || text === "everybody") return text;
  const ranges = rangesIn(text);
  if (ranges.length > 0 && ranges.every((range) => anyRange(range) !== undefined)) return ranges;
  throw wrongFlag("share", text, "nobody, everybody, or ranges of addresses such as 10.0.0.0/8");
}

const wrongFlag = (flag: string, text: string, allowed: string): NgrokdError =>
  usageError(`The flag --${flag} is wrong: ${quote(text)} is not ${allowed}`, ["setup"]);

function reportOf({ plan, facts, ending }: Outcome): Record<string, unknown> {
  const { endpoints = [], findings = [], trouble = "" } = ending ?? {};
  return {
    ok: trouble === "" && worst(findings) !== "failure",
    config_path: facts.loaded.path,
    changes: plan.changes,
    warnings: plan.warnings,
    notes: plan.notes,
    daemon: ending === undefined ? "none" : trouble === "" ? "ready" : trouble,
    endpoints: endpoints.map(({ url, hostname, ip, port, state }) => ({
      url,
      hostname,
      ip,
      port,
      state,
    })),
    try: firstTry(endpoints) ?? null,
    findings,
  };
}

const dryText = ({ plan }: Outcome, { paint, width }: Say): string =>
  plan.changes.length === 0
    ? "Nothing to change."
    : `${planText(plan, paint, width)}\nNothing was changed.`;

function endText({ facts, ending, serve }: Outcome, say: Say): string {
  const { paint } = say;
  if (facts.scope === "user")
    return [
      paint.good("Ready."),
      "`ngrokd exec -- CMD` gives a command the names and ports of your endpoints:",
      `  ${paint.name("ngrokd exec -- curl http://NAME/")}`,
      "`ngrokd exec -- cat /etc/hosts` lists the names. `ngrokd connect NAME` opens a local port.",
    ].join("\n");
  if (ending === undefined)
    return ["No daemon runs yet. This starts one in the terminal:", `  ${paint.name(serve)}`].join(
      "\n",
    );
  const problems = ending.findings.filter(({ level }) => level !== "ok");
  return [
    ...(problems.length > 0 ? [findingsText(problems, paint, say.width), ""] : []),
    ...troubleLines(ending.trouble, ending.findings, paint),
    ...tryLines(ending.endpoints, paint),
  ].join("\n");
}

function troubleLines(trouble: string, findings: readonly Finding[], paint: Paint): string[] {
  return [verdict(findings, paint), ...(trouble === "" ? [] : [paint.bad(trouble)])];
}

function tryLines(endpoints: readonly ListItem[], paint: Paint): string[] {
  const trial = firstTry(endpoints);
  if (trial === undefined)
    return [
      "No endpoint is here yet. `ngrokd list` shows those of your account with a Kubernetes",
      "binding as soon as there are any.",
    ];
  const count = endpoints.length === 1 ? "One endpoint is" : `${endpoints.length} endpoints are`;
  return [`${count} here, as \`ngrokd list\` shows. Try:`, `  ${paint.name(trial)}`];
}
