import { defaultConfigPath, defaultHostsPath } from "./paths.ts";
import { groups, type Setting, settings } from "./schema.ts";
import { configTemplate, valueCode } from "./template.ts";

/**
 * The text of docs/configuration.md. `npx bun src/config/reference.ts` prints
 * it, and a test compares the file with it.
 */
export function referencePage(): string {
  const top = settings.filter(({ path }) => path.length === 1);
  const sections = Object.entries(groups).map(([group, description]) =>
    section(
      `\`${group}\``,
      description,
      settings.filter(({ path }) => path.slice(0, -1).join(".") === group),
    ),
  );
  return `${[introduction, section("Top level", "Settings that are in no group.", top), ...sections, compatibility, template()].join("\n\n")}\n`;
}

const introduction = `<!-- Made from src/config/schema.ts by \`bun src/config/reference.ts > docs/configuration.md\`; do not edit. -->

# Configuration

ngrokd reads one YAML file, \`${defaultConfigPath}\`. It needs none: every setting has a default, and the API key can come from the
environment. While the daemon runs it takes over what changes in the file, apart from settings marked *needs a restart*;
[usage.md](usage.md#reloading) tells how.

    sudo ngrokd config init     write the file, every setting explained
    sudo ngrokd config edit     change it; only a right file is put in place
    ngrokd config check         say everything that is wrong with it, with line and column (exit code 2)
    ngrokd config show          the values in effect, and where each comes from
    ngrokd config path          where the file is

The file belongs to root with mode 0600, since it may hold the API key, and so a user who is not root cannot read it: the
\`config\` commands then say that they need \`sudo\`. There is no second file in a home directory; \`--config FILE\` names another one at
any time.

What is set in several places is taken from the first of:

1. flags: \`--socket PATH\`; of \`ngrokd serve\` also \`--debug\` (\`server.log_level\`) and \`--json\` (\`server.log_format\`)
2. the environment, but for a proxy, which it names for all programs and the file for this one
3. the file
4. the default

| Variable | Meaning |
| --- | --- |
| \`NGROK_API_KEY\` | goes before \`api.key\` |
| \`NGROKD_SOCKET\` | goes before \`server.socket_path\`; commands that talk to the daemon use it too |
| \`HTTPS_PROXY\`, \`https_proxy\`, \`ALL_PROXY\`, \`all_proxy\` | the first that is set counts where \`forward.proxy_url\` does not stand in the file |
| \`NO_PROXY\`, \`no_proxy\` | the hosts to which no proxy leads |
| \`NGROKD_CONFIG\` | the configuration file, unless \`--config\` names one |
| \`NGROKD_HOSTS_PATH\` | the hosts file to keep, \`${defaultHostsPath}\` unless set |

An empty variable counts as absent, and a setting whose value is empty (\`key:\`, \`""\`, \`[]\`) has its default. Paths in the file are
absolute; in flags and variables they may be relative to the folder that the command is typed in.

A value that is not allowed is an error: the daemon does not start, and \`config check\` fails. A key that does not exist is most
likely a slip, or a setting of a newer version: \`config check\` fails, with a suggestion, while the daemon warns and goes on, so that it
still starts after a downgrade. A file that somebody named must be there; the default one need not.

\`ngrokd set-api-key\` changes the one value \`api.key\` and leaves every other character of the file as it is. A key in the environment
goes before it.`;

const compatibility = `## Files of the Go program

The file of the Go program of the same name loads unchanged: its keys, \`yes\` and \`on\` for true, \`selectors: [true]\` and other texts
without quotes, empty values, merge keys (\`<<\`), and the log levels \`trace\` (as debug) and \`warning\` in any spelling. Settings marked
*not in effect* are accepted and have no effect in this version; the daemon and \`config check\` name those that are set to something
else than their default.`;

const template = (): string => `## The whole file

As \`ngrokd config init\` writes it:

\`\`\`yaml
${configTemplate().trimEnd()}
\`\`\``;

function section(title: string, description: string, rows: readonly Setting[]): string {
  const lines = rows.map(({ path, default: usual, description, allowed, notYet, needsRestart }) => {
    const remark = notYet
      ? " *Not in effect in this version.*"
      : needsRestart
        ? " *Needs a restart.*"
        : "";
    return [
      `\`${path.at(-1)}\``,
      `\`${valueCode(usual)}\``,
      `${description}${remark}`,
      allowed,
    ].join(" | ");
  });
  return [
    `## ${title}`,
    "",
    description,
    "",
    "| Setting | Default | Meaning | Allowed |",
    "| --- | --- | --- | --- |",
    ...lines.map((line) => `| ${line} |`),
  ].join("\n");
}

if (import.meta.main) process.stdout.write(referencePage());
