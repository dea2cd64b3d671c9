import { thisManager } from "../../service/manage.ts";
import { type ServiceState, serviceState } from "../../service/service-state.ts";
import { facts, type Paint } from "../../terminal/say.ts";
import { command } from "../command.ts";
import { exitCodes } from "../exit-codes.ts";

export default command({
  name: "service status",
  description:
    "Show whether the service is installed, runs, and starts at boot; " +
    "exit code 4 if it does not run",
  examples: ["ngrokd service status", "ngrokd service status --json"],
  async run(_args, { say }) {
    const state = await say.awaiting("Waiting for the service manager", () =>
      serviceState(thisManager()),
    );
    say.result(state, () => stateText(state, say.paint));
    return state.state === "active" ? exitCodes.ok : exitCodes.notRunning;
  },
});

/** Pure: the text of `ngrokd service status`. */
export function stateText(state: ServiceState, paint: Paint): string {
  if (state.installed === "none")
    return `The service is not installed. ${paint.name("`sudo ngrokd service install`")} installs it.`;
  const rows: [string, string][] = [["Service", runsText(state, paint)]];
  if (state.says !== "") rows.push(["It says", state.says]);
  if (state.pid !== null)
    rows.push(["Process", `pid ${state.pid}${state.since === "" ? "" : `, since ${state.since}`}`]);
  if (state.restarts > 0) rows.push(["Restarts", `${state.restarts}, after failures`]);
  rows.push([
    "At boot",
    state.at_boot === "enabled"
      ? "starts"
      : paint.careful(`does not start${state.at_boot === "" ? "" : ` (${state.at_boot})`}`),
  ]);
  rows.push(["File", `${state.path}${originText(state.installed, paint)}`]);
  const hint = state.needs_reload
    ? [`${paint.name("hint:")} its file was changed: \`sudo systemctl daemon-reload\``]
    : [];
  return [facts(rows, paint), ...hint].join("\n");
}

function originText(installed: ServiceState["installed"], paint: Paint): string {
  if (installed === "packaged") return ", of the package";
  if (installed === "predecessor") return `, ${paint.careful("of the Go program")}`;
  return installed === "foreign" ? `, ${paint.careful("not made by ngrokd")}` : "";
}

function runsText({ state, detail, result }: ServiceState, paint: Paint): string {
  if (state === "active")
    return paint.good(detail === "" || detail === "running" ? "active" : `active (${detail})`);
  if (state === "failed") return paint.bad(`failed${result === "" ? "" : `: ${result}`}`);
  if (state === "unknown") return paint.careful("unknown: its manager does not answer");
  return paint.careful(state);
}
