import { run } from "./ngrokd.ts";
import { until } from "./story.ts";

const socket = "/run/tmp/tmux.sock";
const tmux = async (...words: string[]): Promise<string> => {
  const { out, err, code } = await run(["tmux", "-S", socket, "-f", "/dev/null", "-u", ...words]);
  if (code !== 0) throw new Error(`tmux ${words.join(" ")}: ${err}`);
  return out;
};

let count = 0;

/**
 * A terminal with a shell, in which a person types. It is tmux, so its screen
 * is what a terminal makes of a program's output.
 */
export async function openTmux(
  columns: number,
  rows: number,
  env: Readonly<Record<string, string>> = {},
) {
  count += 1;
  const name = `s${count}`;
  const settings = { LC_ALL: "C.UTF-8", NO_COLOR: "1", ...env };
  const variables = Object.entries(settings).flatMap(([key, value]) => ["-e", `${key}=${value}`]);
  const size = ["-x", String(columns), "-y", String(rows)];
  const shell = ["new-session", "-d", "-s", name, ...size, ...variables];
  // Otherwise the server ends with its last session, while the next one begins.
  const stay = [";", "set-option", "-s", "exit-empty", "off"];
  await tmux(...shell, "bash --norc --noprofile -i", ...stay);
  const screen = async (...flags: string[]): Promise<string> =>
    await tmux("capture-pane", "-p", "-t", name, ...flags);
  const terminal = {
    screen,
    /** Names of tmux, such as `Enter` and `C-c`, or characters. */
    async keys(...keys: string[]): Promise<void> {
      for (const key of keys)
        await tmux("send-keys", "-t", name, ...(key.length === 1 ? ["-l"] : []), key);
    },
    async line(text: string): Promise<void> {
      await tmux("send-keys", "-t", name, "-l", text);
      await tmux("send-keys", "-t", name, "Enter");
    },
    /** The screen, once it has the pattern. */
    async shows(pattern: RegExp | string): Promise<string> {
      return await until(`the screen shows ${pattern}`, async () => {
        const text = await screen();
        const found = typeof pattern === "string" ? text.includes(pattern) : pattern.test(text);
        if (!found) throw new Error(`it shows:\n${text}`);
        return text;
      });
    },
    /** The same, once the pattern is gone. */
    async lacks(pattern: RegExp): Promise<string> {
      return await until(`the screen has no ${pattern}`, async () => {
        const text = await screen();
        if (pattern.test(text)) throw new Error(`it shows:\n${text}`);
        return text;
      });
    },
    async resize(toColumns: number, toRows: number): Promise<void> {
      await tmux("resize-window", "-t", name, "-x", String(toColumns), "-y", String(toRows));
    },
    /** Of the program in front: `on` if it is on the alternate screen. */
    async modes(): Promise<{ alternate: string; cursor: string; wrap: string }> {
      const text = await tmux(
        "display-message",
        "-p",
        "-t",
        name,
        "#{alternate_on} #{cursor_flag} #{wrap_flag}",
      );
      const [alternate = "", cursor = "", wrap = ""] = text.trim().split(" ");
      return { alternate, cursor, wrap };
    },
    close: async () => await tmux("kill-session", "-t", name),
  };
  await terminal.shows("bash-");
  return terminal;
}
