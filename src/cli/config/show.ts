import { loadConfig } from "../../config/load.ts";
import { problemText } from "../../config/problem.ts";
import { redactedSettings } from "../../config/redact.ts";
import { valueCode } from "../../config/template.ts";
import { table } from "../../terminal/table.ts";
import { command } from "../command.ts";

export default command({
  name: "config show",
  description: "Show the values in effect and their origins; secrets are not shown",
  examples: ["ngrokd config show", "ngrokd config show --json"],
  async run({ config: file, socket }, { env, say }) {
    const loaded = await loadConfig({ file, env, flags: { "server.socket_path": socket } });
    for (const warning of loaded.warnings) say.warn(problemText(warning));
    const shown = redactedSettings(loaded);
    const value = {
      path: loaded.path,
      exists: loaded.exists,
      settings: Object.fromEntries(shown.map(({ key, value, origin }) => [key, { value, origin }])),
      hosts_path: loaded.hostsPath,
    };
    say.result(value, () => {
      const { paint } = say;
      const rows = shown.map(({ key, value, origin }) => {
        const from = origin.replace("environment ", "");
        return [key, origin === "default" ? paint.dim(from) : paint.name(from), inText(value)];
      });
      const settings = table(["Setting", "From", "Value"], rows, paint);
      const missing = loaded.exists ? "" : " (there is none)";
      return `${settings}\n\nFile: ${loaded.path}${missing}\nHosts file: ${loaded.hostsPath}`;
    });
    return 0;
  },
});

const inText = (value: unknown): string =>
  typeof value === "string" && value !== "" ? value : valueCode(value);
