import { stringify } from "yaml";
import { groups, type Setting, settings } from "./schema.ts";

/**
 * The text of a new configuration file, for `config init`: every setting with
 * its explanation and default. Group names and the API key are active. All
 * other lines begin with "# ", so a user changes a setting by changing its line
 * alone.
 */
export function configTemplate(): string {
  const parts = [introduction];
  const printed = new Set<string>();
  for (const setting of settings) {
    for (let depth = 1; depth < setting.path.length; depth += 1) {
      const group = setting.path.slice(0, depth);
      const name = group.join(".");
      const indent = "  ".repeat(depth - 1);
      if (!printed.has(name))
        parts.push(`${comment(groups[name] ?? "", indent)}\n${indent}${group.at(-1)}:`);
      printed.add(name);
    }
    parts.push(settingLines(setting));
  }
  return `${parts.join("\n\n").replaceAll(/:\n\n( +#)/g, ":\n$1")}\n`;
}

const introduction = comment(
  "The configuration of ngrokd. Every setting has its default here: remove the " +
    '"# " before its name to change it. Check the file with `ngrokd config check`. A running ' +
    "daemon applies changes of this file. An empty value means the default. The variables " +
    "NGROK_API_KEY and NGROKD_SOCKET take precedence over this file.",
  "",
);

function settingLines(setting: Setting): string {
  const { path, description, allowed, secret = false, needsRestart } = setting;
  const indent = "  ".repeat(path.length - 1);
  const later = needsRestart ? " Needs a restart of the daemon." : "";
  const line = `${path.at(-1)}: ${valueCode(setting.default)}`;
  const example =
    setting.example === undefined ? "" : `\n${indent}# Example: ${valueCode(setting.example)}`;
  const words = comment(description + later, indent);
  const mark = secret === true ? "" : "# ";
  return `${words}\n${comment(`Allowed: ${allowed}.`, indent)}${example}\n${indent}${mark}${line}`;
}

/** A value as YAML on one line. */
export function valueCode(value: unknown): string {
  return stringify(value, {
    collectionStyle: "flow",
    flowCollectionPadding: false,
    lineWidth: 0,
  }).trimEnd();
}

/** The text as comment lines of at most 100 characters. */
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
