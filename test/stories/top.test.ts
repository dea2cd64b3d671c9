import { afterAll, expect, test } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { registered } from "../support/cloud.ts";
import { binary, type Daemon, run, serve } from "../support/ngrokd.ts";
import { screenOf, svgOf } from "../support/screen-picture.ts";
import { stories, until } from "../support/story.ts";
import { onTerminal } from "../support/terminal.ts";
import { openTmux } from "../support/tmux.ts";
import { web } from "../support/web.ts";

let daemon: Daemon;
let terminal: Awaited<ReturnType<typeof openTmux>>;
let isOver = false;

/** Clients all the time: hello has the most traffic, and grafana none. */
async function keepBusy(): Promise<void> {
  while (!isOver) {
    await run(["curl", "-sS", "http://hello.demo/large", "http://shop.demo/"]);
    await Bun.sleep(100);
  }
}

/**
 * The screen without what is never the same: numbers, bars, ids, and the width
 * of a column with them.
 */
const still = (text: string): string[] =>
  text
    .replaceAll(/[▁▂▃▄▅▆▇█]/g, " ")
    .replaceAll(/\bep_\w+/g, "ep_ID")
    .replaceAll(/ *\b\d[\d.:]*(?:ms|[KMG]iB|[sBKMG]|min)?(?= |$|[,+/:])/gm, " #")
    .replaceAll(/(?: # (?:h|min|s|d))+/g, " #")
    .replaceAll(/ #(?: (?:[KMG]i)?B)?(?=[ /](?:s|up|down)\b)/g, " # B")
    .split("\n")
    .map((line) => line.replaceAll(/ +/g, " ").trimEnd())
    .filter((line, i, all) => line !== "" || all[i - 1] !== "");

/** The screens of docs/usage.md. */
const screens = readFileSync(join(import.meta.dirname, "../../docs/usage.md"), "utf8")
  .split("## Watching")[1]
  ?.split("\n## ")[0]
  ?.matchAll(/^```text\n([\s\S]*?)^```$/gm);
const [table = "", page = ""] = [...(screens ?? [])].map(([, text = ""]) => text);

/** The process of the `ngrokd top` on the terminal. */
const ownPid = async (): Promise<number> =>
  Number((await run(["pgrep", "-xf", `${binary()} top`])).out);

const cursor = async (name: string): Promise<string> => await terminal.shows(`> ${name}.demo:80`);

stories("ngrokd top", () => {
  afterAll(() => {
    isOver = true;
  });

  test("shows the daemon on 80 columns and 24 rows, as the manual does", async () => {
    const inspect = { endpoints: ["hello.demo"] };
    const { cloud, daemon: first } = await registered({ config: { inspect } });
    daemon = first;
    const { address } = web({
      fetch: ({ url }) => new Response("x".repeat(url.endsWith("large") ? 200_000 : 2000)),
    });
    for (const name of ["grafana", "hello", "shop"]) {
      await cloud.add(`http://${name}.demo`, address);
      await daemon.becomes(`${name}.demo`, "listening");
    }
    await cloud.add("https://*.wild.demo", address);
    await daemon.refresh();
    void keepBusy();
    terminal = await openTmux(80, 24);
    await terminal.line(`${binary()} top`);
    const screen = await terminal.shows(/> hello\.demo.*\n {2}shop\.demo.*▁?[▂-█]{3,}/);
    expect(still(screen)).toEqual(still(table));
    expect(await terminal.modes()).toEqual({ alternate: "1", cursor: "0", wrap: "0" });
  });

  test("moves by arrows, letters, pages, Home and End", async () => {
    await terminal.keys("s");
    await terminal.shows("sort: name");
    await cursor("grafana");
    for (const [key, name] of [
      ["Down", "hello"],
      ["j", "*"],
      ["Up", "hello"],
      ["k", "grafana"],
      ["PageDown", "shop"],
      ["PageUp", "grafana"],
      ["End", "shop"],
      ["Home", "grafana"],
      ["G", "shop"],
      ["g", "grafana"],
    ] as const) {
      await terminal.keys(key);
      await terminal.shows(name === "*" ? /^> https:\/\/\*\.wild\.demo/m : `> ${name}.demo:80`);
    }
  });

  test("sorts by s and S, and reverses by r", async () => {
    await terminal.keys("s");
    await terminal.shows("sort: state");
    await terminal.shows(/^> https:\/\/\*\.wild\.demo +unsuppo/m);
    await terminal.keys("r");
    await terminal.shows(/STATE▲/);
    await terminal.keys("S", "r");
    await terminal.shows("sort: name");
    await cursor("grafana");
  });

  test("searches by /, as it is typed, and shows all again by Esc", async () => {
    await terminal.keys("/", "s", "h", "o");
    await terminal.shows("/sho_");
    const found = await terminal.lacks(/grafana/);
    expect(found).toContain("> shop.demo:80");
    await terminal.keys("BSpace", "BSpace", "BSpace", "h", "e", "l", "Enter");
    expect(await terminal.shows('1 of 4 have "hel"')).toContain("> hello.demo:80");
    await terminal.keys("Escape");
    await terminal.shows("grafana.demo:80");
  });

  test("pauses by p or Space, and goes on", async () => {
    await terminal.keys("p");
    const before = await terminal.shows(/ paused {2}\d\d:\d\d:\d\d/);
    await Bun.sleep(2500);
    expect(await terminal.screen()).toBe(before);
    await terminal.keys("Space");
    await terminal.lacks(/ paused /);
  });

  test("explains its keys by ? and F1", async () => {
    for (const key of ["?", "F1"]) {
      await terminal.keys(key);
      expect(await terminal.shows("KEYS")).toContain("Ctrl-Z           back to the shell");
      await terminal.keys("Escape");
      await terminal.lacks(/KEYS/);
    }
  });

  test("has a page of each endpoint: Enter, arrows, and Esc", async () => {
    await terminal.keys("Home", "Down", "Enter");
    const screen = await terminal.shows(/LAST CONNECTIONS\n.*\n(?:.*finished.*\n){3}/);
    expect(still(screen).slice(0, 18)).toEqual(still(page).slice(0, 18));
    await terminal.keys("End");
    const end = await terminal.shows(/EVENTS\n.*endpoint\.raised http:\/\/hello\.demo/);
    expect(end).toMatch(/\n(?:.* 200 GET hello\.demo\/large .*\n){3,}/);
    await terminal.keys("Home", "Escape");
    await cursor("hello");
  });

  test("fills 200 columns and 50 rows after a change of size, and 60 of 10", async () => {
    await terminal.resize(200, 50);
    const wide = (
      await terminal.shows(/^ {2}https.*unsupported .* in names\.expand$[\s\S]*^Enter details/m)
    ).split("\n");
    expect(wide[0]).toHaveLength(200);
    expect(wide[49]).toStartWith("Enter details");
    await terminal.keys("Enter");
    await terminal.shows(/\.+-*=* \d.*ms\n/);
    await terminal.keys("Escape");
    await terminal.resize(60, 10);
    await until("the last row has the keys", async () =>
      (await terminal.screen()).trimEnd().split("\n").at(-1)?.startsWith("Enter details"),
    );
    await terminal.resize(80, 24);
    await terminal.shows(/\n\n\n\nEnter details/);
  });

  test("waits for a daemon that is started again", async () => {
    await daemon.stop();
    await terminal.shows("waiting: No daemon answers");
    expect(await terminal.screen()).toContain("hello.demo:80");
    daemon = await serve();
    await terminal.lacks(/No daemon answers/);
    await terminal.shows(/serving, up \d+ s/);
  });

  test("gives the terminal back on Ctrl-Z, and draws again after fg", async () => {
    await terminal.keys("C-l", "C-z");
    await terminal.shows("Stopped");
    expect(await terminal.modes()).toEqual({ alternate: "0", cursor: "1", wrap: "1" });
    const pid = await ownPid();
    await terminal.line("fg");
    await terminal.shows("grafana.demo:80");
    expect(await terminal.modes()).toEqual({ alternate: "1", cursor: "0", wrap: "0" });
    process.kill(pid, "SIGTSTP");
    await terminal.shows("Stopped");
    await terminal.line("fg");
    await terminal.shows("grafana.demo:80");
  });

  test.each(["q", "C-c", "SIGTERM", "SIGHUP"])("restores the terminal after %s", async (end) => {
    await terminal.shows("q quit");
    const pid = await ownPid();
    if (end.startsWith("SIG")) process.kill(pid, end);
    else await terminal.keys(end);
    const screen = await terminal.lacks(/q quit/);
    // Until then it may read the next line, too.
    await until("its process has ended", () => !existsSync(`/proc/${pid}`));
    expect(screen).not.toContain("ENDPOINT");
    expect(await terminal.modes()).toEqual({ alternate: "0", cursor: "1", wrap: "1" });
    await terminal.line('clear; echo "code $?"');
    // The shell's own editor is in raw mode, so a command is asked.
    await terminal.line("stty -a | grep -o ' icanon\\|-icanon'; echo done");
    expect(await terminal.shows(/^done/m)).toMatch(/^ icanon$/m);
    await terminal.line(`clear; ${binary()} top`);
    await terminal.shows("grafana.demo:80");
  });

  test("prints lines without a terminal, with TERM=dumb, and JSON", async () => {
    await terminal.close();
    const lines = await run(["sh", "-c", `${binary()} top | head -4`]);
    expect(lines.out).toMatch(/^\d\d:\d\d:\d\d serving; 3 listening, 1 unsupported, \d+ open, /);
    expect(lines.out).toMatch(/\n {2}hello\.demo:80 \d+ open, /);
    const dumb = await onTerminal([binary(), "top"], {
      env: { TERM: "dumb" },
      type: ["hello.demo", "\u0003"],
    });
    expect({ code: dumb.code, escapes: dumb.text.includes("\u001b") }).toEqual({
      code: 0,
      escapes: false,
    });
    const { out } = await run(["sh", "-c", `${binary()} top --json | head -1`]);
    const value = JSON.parse(out);
    expect(value.status.phase).toBe("serving");
    expect(value.endpoints.map(({ hostname }: { hostname: string }) => hostname)).toContain(
      "hello.demo",
    );
  });

  test("says so if no daemon runs, and which sorts there are", async () => {
    const none = await run([binary(), "top", "--socket", "/run/none.sock"]);
    expect({ code: none.code, err: none.err }).toEqual({
      code: 4,
      err: expect.stringContaining("No daemon answers"),
    });
    const wrong = await run([binary(), "top", "--sort", "luck"]);
    expect(wrong.err).toContain("is none of traffic, name, state");
    isOver = true;
  });
});

stories("the pictures of ngrokd top", () => {
  const folder = join(import.meta.dirname, "../../docs/images");
  /** What never changes in a picture: the headings, and the keys. */
  const frame = (screen: string): string[] =>
    screen
      .trimEnd()
      .split("\n")
      .filter((line) => /^ *(?:ENDPOINT|ACCEPTED) |^LAST CONNECTIONS$|^(?:Enter|Esc) /.test(line))
      .map((line) => line.trimEnd());
  /** Writes a picture for the docs, if SCREENSHOTS is set. */
  const picture = async (name: string, columns: number, rows: number): Promise<void> => {
    const screen = await terminal.screen();
    const coloured = await terminal.screen("-e");
    expect(coloured).toContain("\u001b[");
    const lines = screen.split("\n");
    expect({ tooWide: lines.filter((line) => line.length > columns), rows: lines.length }).toEqual({
      tooWide: [],
      rows: rows + 1,
    });
    const file = join(folder, `${name}.svg`);
    if (process.env.SCREENSHOTS) writeFileSync(file, svgOf(coloured, columns, rows));
    expect(frame(screenOf(readFileSync(file, "utf8")))).toEqual(frame(screen));
  };

  test("are as it looks on 80x24, and on 200x50", async () => {
    isOver = false;
    const inspect = { endpoints: ["api.demo"] };
    const begun = await registered({ config: { inspect } });
    daemon = begun.daemon;
    const { address } = web({
      fetch: async ({ url }) => {
        await Bun.sleep(Math.random() * 30);
        return new Response("x".repeat(url.endsWith("large") ? 200_000 : 2000));
      },
    });
    const names = "api auth billing docs grafana mail search shop web".split(" ");
    for (const name of names) await begun.cloud.add(`http://${name}.demo`, address);
    await begun.cloud.add("tcp://postgres.demo:5432", address);
    await begun.cloud.add("http://gone.demo:8080", "127.0.0.1:1");
    await begun.cloud.add("https://*.wild.demo", address);
    await daemon.becomes("gone.demo", "listening");
    const visit = async (): Promise<void> => {
      while (!isOver) {
        const name = names[Math.floor(Math.random() ** 2 * names.length)];
        const path = Math.random() < 0.3 ? "large" : "";
        await run(["curl", "-sS", `http://${name}.demo/${path}`, "http://api.demo/v1/items"]);
        await run(["curl", "-sS", "--max-time", "1", "http://gone.demo:8080/"]);
        await Bun.sleep(80);
      }
    };
    void visit();
    // A picture has some more to show.
    if (process.env.SCREENSHOTS) await Bun.sleep(30_000);
    terminal = await openTmux(80, 24, { NO_COLOR: "" });
    await terminal.line(`${binary()} top`);
    await terminal.shows(/ \d\S* new\/s/);
    await terminal.shows(/^[> ] api\.demo.*[▁-█] *[▁-█]/m);
    await picture("top-80x24", 80, 24);
    await terminal.resize(200, 50);
    await terminal.shows(/^(?:.*\n){49}Enter details/);
    await picture("top-200x50", 200, 50);
    await terminal.keys("s", "Home", "Enter");
    await terminal.shows(/^api\.demo(?:.*\n)*LAST CONNECTIONS\n.*\n(?:.*finished.*\n){5}/m);
    await picture("top-endpoint-200x50", 200, 50);
    await terminal.keys("Escape", "q");
    await terminal.lacks(/q quit/);
    isOver = true;
  });
});
