/**
 * Runs a program on a terminal of 80 columns and returns all its output.
 * `type`: a text to wait for, and the keys to type then.
 */
export async function onTerminal(
  command: readonly string[],
  {
    env = {},
    type,
  }: { env?: Readonly<Record<string, string>>; type?: readonly [wait: string, keys: string] } = {},
): Promise<{ text: string; code: number }> {
  const decoder = new TextDecoder();
  let text = "";
  let typed = false;
  // A program's last output can arrive after its end.
  const { promise: wholeText, resolve: end } = Promise.withResolvers<void>();
  const child = Bun.spawn({
    cmd: [...command],
    cwd: "/",
    env: { PATH: process.env.PATH ?? "", HOME: "/root", TERM: "xterm", ...env },
    terminal: {
      cols: 80,
      rows: 24,
      data(terminal, bytes) {
        text += decoder.decode(bytes, { stream: true });
        if (type === undefined || typed || !text.includes(type[0])) return;
        typed = true;
        terminal.write(type[1]);
      },
      exit: () => end(),
    },
  });
  const [code] = await Promise.all([child.exited, wholeText]);
  child.terminal?.close();
  return { text, code };
}
