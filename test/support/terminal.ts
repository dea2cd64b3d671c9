/**
 * Runs a program on a terminal of 80 columns; `type` is what to wait for and
 * what to type then. Answers all that was shown.
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
  // What a program says last can arrive after it has ended.
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
