import { expect, test } from "bun:test";
import { registered } from "../support/cloud.ts";
import { binary, run } from "../support/ngrokd.ts";
import { atEnd, stories } from "../support/story.ts";
import { onTerminal } from "../support/terminal.ts";
import { page } from "../support/web.ts";

const socket = "/run/slow.sock";

/** A daemon that answers each request after a while. */
function slowDaemon(): void {
  const server = Bun.listen({
    unix: socket,
    socket: {
      data: (conn) =>
        void Bun.sleep(3500).then(() => conn.end('{"success":false,"error":"not today"}\n')),
    },
  });
  atEnd(() => server.stop(true));
}

stories("a command that waits", () => {
  test.each([
    ["refresh", 'the daemon\'s answer to "refresh"'],
    ["set-api-key a-key-of-a-story", "Waiting for"],
    ["upgrade", 'the daemon\'s answer to "upgrade"'],
    ["why hello.demo", "Following hello.demo"],
    ["doctor", "Checking"],
    ["wait hello.demo --timeout 60", "Waiting for"],
  ])(
    "%s waits for a slow daemon: a line on a terminal says so, and is gone",
    async (words, what) => {
      if (words === "refresh") slowDaemon();
      const command = [binary(), ...words.split(" "), "--socket", socket];
      const { text } = await onTerminal(command, { env: { NO_COLOR: "1" } });
      const lines = text.split("\r\u001b[K");
      const shown = lines.some((line) => line.includes(what) && /… [1-9]\d* s$/.test(line));
      expect({ lines, shown }).toEqual({ lines, shown: true });
      expect(lines.at(-1)).not.toContain("…");
    },
  );

  test("that asks ngrok itself says so, too", async () => {
    const { cloud, daemon } = await registered();
    await cloud.add("http://hello.demo", page("hello").address);
    await daemon.becomes("hello.demo", "listening");
    expect(await daemon.stop()).toBe(0);
    await cloud.break("latency=3000");
    const seen: Record<string, boolean> = {};
    for (const [words, what] of [
      ["operators", "Asking ngrok"],
      ["plan", "Asking ngrok"],
      ["exec --ephemeral -- true", "Waiting for ngrok"],
      ["exec --ephemeral -- true", "Deleting this run's operator at ngrok"],
      ["unregister --yes", "Deleting the operator at ngrok"],
    ] as const) {
      const { text } = await onTerminal([binary(), ...words.split(" ")], {
        env: { NO_COLOR: "1", XDG_STATE_HOME: "/run/story/state" },
      });
      const lines = text.split("\r\u001b[K");
      const shown = lines.some((line) => line.includes(`${what} … `));
      const gone = !(lines.at(-1) ?? "").includes("…");
      seen[`${words}: ${what}`] = shown && gone;
    }
    expect(Object.entries(seen).filter(([, isRight]) => !isRight)).toEqual([]);
  });

  test("without a terminal, nothing is shown", async () => {
    const { err } = await run([binary(), "refresh", "--socket", socket]);
    expect(err).toBe("error: not today\n");
    const dumb = await onTerminal([binary(), "refresh", "--socket", socket], {
      env: { TERM: "dumb" },
    });
    expect(dumb.text).not.toContain("Waiting");
  });
});
