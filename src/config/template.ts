import { stringify } from "yaml";
import { groups, type Setting, settings } from "./schema.ts";

/**
 * A configuration file with every setting explained and at its default: what `config init` writes. Group names and the API key stand
 * there for real, everything else is behind "# ", so that a setting is changed by changing its line alone.
 */
export function configTemplate(): string {
  const parts = [introduction];
  let last: string | undefined;
  for (const setting of settings) {
    const [group] = setting.path;
    if (setting.path.length > 1 && group !== last) parts.push(`${comment(groups[group] ?? "", "")}\n${group}:`);
    parts.push(explained(setting));
    last = group;
  }
  return `${parts.join("\n\n").replaceAll(":\n\n  #", ":\n  #")}\n`;
}

const introduction = comment(
  'The configuration of ngrokd. Every setting stands here with its default: take away the "# " before its name to change it. Check the ' +
    "file with `ngrokd config check`; the daemon reads it when it starts. An empty value means the default. The variables NGROK_API_KEY " +
    "and NGROKD_SOCKET go before this file.",
  "",
);

function explained(setting: Setting): string {
  const { path, description, allowed, notYet = false, secret = false } = setting;
  const indent = "  ".repeat(path.length - 1);
  const later = notYet ? " Without effect in this version." : "";
  const line = `${path.at(-1)}: ${valueCode(setting.default)}`;
  const example = setting.example === undefined ? "" : `\n${indent}# Example: ${valueCode(setting.example)}`;
  const words = `${comment(description + later, indent)}\n${comment(`Allowed: ${allowed}.`, indent)}`;
  return `${words}${example}\n${indent}${secret ? "" : "# "}${line}`;
}

/** A value on one line, as the file has it. */
export function valueCode(value: unknown): string {
  return stringify(value, { collectionStyle: "flow", flowCollectionPadding: false, lineWidth: 0 }).trimEnd();
}

/** Lines of at most 100 characters behind "# ". */
function comment(text: string, indent: string): string {
  const words = text.split(" ");
  const lines: string[] = [];
  let line = `${indent}#`;
  for (const word of words) {
    if (line.length + 1 + word.length > 100) {
      lines.push(line);
      line = `${indent}#`;
    }
    line += ` ${word}`;
  }
  return [...lines, line].join("\n");
}
