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
  const first = section("Top level", "Settings that are in no group.", top);
  return `${[introduction, first, ...sections, compatibility, template()].join("\n\n")}\n`;
}

const proxies = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
  .map((name) => `\`${name}\``)
  .join(", ");
const command = "bun src/config/reference.ts > docs/configuration.md";
const introduction = `<!-- Made from src/config/schema.ts by \`${command}\`; do not edit. -->

# Configuration

ngrokd reads one YAML file, \`${defaultConfigPath}\`. The file is optional: every setting has a
default, and the API key can come from the environment. While the daemon runs, it applies changes
of the file, except for settings marked *needs a restart*. See [usage.md](usage.md#reloading).

    sudo ngrokd config init     write the file, with every setting explained
    sudo ngrokd config edit     edit the file; only a valid file is saved
    ngrokd config check         list all problems, with line and column (exit code 2)
    ngrokd config show          show the values in effect and their origins
    ngrokd config path          show the path of the file

The file belongs to root and has mode 0600, since it may contain the API key. Other users cannot
read it, so the \`config\` commands then tell them to use \`sudo\`. There is no second file in a home
directory. \`--config FILE\` names another file at any time.

If a value is set in several places, the first of these counts:

1. flags: \`--socket PATH\`; for \`ngrokd serve\` also \`--debug\` (\`server.log_level\`) and \`--json\`
   (\`server.log_format\`)
2. the environment, except for a proxy: its variables concern all programs, so the file comes first
3. the file
4. the default

| Variable | Meaning |
| --- | --- |
| \`NGROK_API_KEY\` | replaces \`api.key\` |
| \`NGROK_API_KEY_FILE\` | a file with the key, such as a secret of a container; replaces \`api.key\` if \`NGROK_API_KEY\` is not set |
| \`NGROKD_SOCKET\` | replaces \`server.socket_path\`, also for commands that talk to the daemon |
| ${proxies} | the first that is set counts if the file has no \`forward.proxy_url\` |
| \`NO_PROXY\`, \`no_proxy\` | hosts that are reached without the proxy |
| \`NGROKD_CONFIG\` | the configuration file, unless \`--config\` names one |
| \`NGROKD_HOSTS_PATH\` | the hosts file to edit; \`${defaultHostsPath}\` by default |

An empty variable counts as absent. A setting with an empty value (\`key:\`, \`""\`, \`[]\`) has its
default. Paths in the file are absolute. Paths in flags and variables may be relative to the
current folder.

A value that is not allowed is an error: the daemon does not start, and \`config check\` fails. An
unknown key is probably a typing error, or a setting of a newer version. \`config check\` then fails
with a suggestion. The daemon warns and goes on, so that it still starts after a downgrade. A file
that was named must exist; the default file need not.

\`ngrokd set-api-key\` changes only the value of \`api.key\` and keeps every other character of the
file. A key in the environment takes precedence.`;

const compatibility = `## Files of the Go program

The file of the Go program of the same name loads unchanged. This includes its keys, \`yes\` and
\`on\` for true, \`selectors: [true]\` and other texts without quotes, empty values, and merge keys
(\`<<\`). It also includes log levels of other loggers in any spelling: \`trace\` and \`verbose\` (as
debug), \`warning\`, \`fatal\` and \`panic\` (as error).

That program starts with some values that ngrokd cannot use: 0 for \`poll_interval\`,
\`cert_refresh_interval\` or \`start_port\`, a subnet without a mask, of IPv6 or with a mask out of
range, long names of interfaces, \`:53\` or host names below \`dns\`, relative paths, and an API key
that is too short. The daemon starts with them, too, and warns with the value that it uses
instead. A relative path counts from the working folder. \`config check\` and \`config edit\` refuse
such a file.`;

const template = (): string => `## The whole file

\`ngrokd config init\` writes this file:

\`\`\`yaml
${configTemplate().trimEnd()}
\`\`\``;

function section(title: string, description: string, rows: readonly Setting[]): string {
  const lines = rows.map(({ path, default: usual, description, allowed, needsRestart }) => {
    const remark = needsRestart ? " *Needs a restart.*" : "";
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
