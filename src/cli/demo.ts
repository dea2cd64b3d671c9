import { basename, dirname, relative } from "node:path";
import {
  addressOf,
  echoUrl,
  helloUrl,
  onStage,
  type Stage,
  type Visit,
  visit,
} from "../demo/demo.ts";
import { listReply } from "../desk/replies.ts";
import { listText } from "../terminal/list-text.ts";
import type { Paint } from "../terminal/say.ts";
import { aborted, command, type Io } from "./command.ts";

export default command({
  name: "demo",
  description: "Try ngrokd: no account, no root, nothing left behind",
  args: {
    once: {
      type: "boolean",
      description: "Make the requests here, show their answers, and end (also: DEMO_ONCE=1)",
    },
  },
  examples: ["ngrokd demo", "ngrokd demo --once"],
  async run(args, io) {
    const { net, env, say, stop } = io;
    const once = args.once === true || (env.DEMO_ONCE ?? "") !== "";
    const options = { net, path: env.PATH, debug: args.debug === true };
    const folder = await onStage(options, async (stage) => {
      say.note(introduction(stage, io));
      if (!once) {
        say.note(proposals(stage, io));
        return await aborted(stop);
      }
      const seen = await visit(stage, net);
      say.ready(seen, () => visitText(seen, say.paint));
    });
    say.note(`\nThe demo has ended; "${folder}" is removed, and nothing else was changed.`);
    return undefined;
  },
});

function introduction({ cloud, daemon }: Stage, { say }: Io): string {
  return [
    say.paint.bold("A stand-in for ngrok, two services and the ngrokd daemon run in this process."),
    `The daemon has registered at ${cloud.apiUrl}, and carries connections`,
    `over mutual TLS to ${cloud.ingressAddress}:`,
    "",
    listText(listReply(daemon.state()), say.paint, say.width),
  ].join("\n");
}

/** The commands for another terminal, while the demo runs. */
function proposals(stage: Stage, { say, env }: Io): string {
  const { bold, dim } = say.paint;
  const { samples, cloud, daemon, hostsPath, socketPath } = stage;
  const hello = addressOf(stage, helloUrl);
  const echo = addressOf(stage, echoUrl);
  const self = ownCommand(env);
  const step = (text: string): string => `  ${dim("$")} ${text}`;
  return [
    "",
    bold("Try, in another terminal:"),
    step(`curl --resolve hello.demo:8080:${hello.ip} ${helloUrl}/`),
    step(`nc ${echo.ip} ${echo.port}   # says hello first, then echoes`),
    step(`${self} list --socket ${socketPath}`),
    step(`${self} status --socket ${socketPath}`),
    step(`${self} doctor --socket ${socketPath}`),
    step(`${self} why hello.demo --socket ${socketPath}`),
    step(`curl ${daemon.healthUrl ?? ""}status`),
    step(`cat ${hostsPath}   # the demo's own; \`ngrokd serve\` keeps /etc/hosts`),
    "",
    bold("To add an endpoint:"),
    step(`curl ${cloud.apiUrl}/_cloud/endpoints \\`),
    "      -H 'content-type: application/json' \\",
    `      -d '{"url": "http://more.demo:8080", "upstream": "${samples.http}"}'`,
    "",
    "Ctrl-C ends it.",
  ].join("\n");
}

/** Pure: the answers to the requests of `--once`. */
function visitText({ http, tcp, hosts }: Visit, paint: Paint): string {
  return [
    section(`${paint.bold(helloUrl)} answered:`, http.answer),
    section(`${paint.bold(echoUrl)} answered:`, tcp.answer),
    section(paint.bold("The hosts file:"), hosts),
  ].join("\n");
}

/** The command that starts this program from the current folder. */
function ownCommand({ PATH = "" }: Io["env"]): string {
  const { execPath } = process;
  if (!basename(execPath).startsWith("ngrokd") || PATH.split(":").includes(dirname(execPath)))
    return "ngrokd";
  const path = relative(process.cwd(), execPath);
  if (path.startsWith("..")) return execPath;
  // A shell looks for a bare name in PATH, not in this folder.
  return path.includes("/") ? path : `./${path}`;
}

const section = (title: string, text: string): string => `\n${title}\n${indent(text)}`;

const indent = (text: string): string => text.trimEnd().replaceAll(/^/gm, "  ");
