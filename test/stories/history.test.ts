import { expect, test } from "bun:test";
import type { Connection, Event } from "../../src/desk/history-schemas.ts";
import { type Cloud, configFor, registered } from "../support/cloud.ts";
import { binary, type Daemon, ngrokd, run, serve, start, writeConfig } from "../support/ngrokd.ts";
import { stories, until } from "../support/story.ts";
import { dial, echo } from "../support/tcp.ts";
import { page } from "../support/web.ts";

let cloud: Cloud;
let daemon: Daemon;

const linesOf = (text: string): string[] => text.split("\n").filter((line) => line !== "");

/** One whole request with a connection of its own. */
async function visit(name: string): Promise<void> {
  expect((await run(["curl", "-sS", `http://${name}/`])).code).toBe(0);
}

const connectionsOf = async (words: string): Promise<Connection[]> =>
  (await ngrokd(`connections ${words} --json`)).json.connections;

stories("the history of the daemon", () => {
  test("a connection has its steps, its bytes and its end", async () => {
    ({ cloud, daemon } = await registered());
    await cloud.add("http://hello.demo", page("hello").address);
    await cloud.add("tcp://echo.demo:7000", (await echo()).address);
    await daemon.becomes("hello.demo", "listening");
    await daemon.becomes("echo.demo", "listening");
    expect((await ngrokd("connections")).out).toContain("There was no connection");
    await visit("hello.demo");
    const [one] = await until("the connection has ended", async () => {
      const found = await connectionsOf("hello.demo --state ended");
      return found.length > 0 && found;
    });
    expect(one).toMatchObject({
      endpoint: "hello.demo:80",
      profile: "default",
      client: expect.stringMatching(/^127\.0\.0\.\d+:\d+$/),
      user: null,
      state: "ended",
      end: { kind: "finished", reason: "" },
    });
    const { timeline_ms: times, bytes, from } = one as Connection;
    const { ready, upgraded, first_up, first_down, ended } = times;
    const steps = [ready, upgraded, first_up, first_down, ended].map(Number);
    expect(steps).toEqual([...steps].sort((a, b) => a - b));
    expect(from === "dial").toBe(times.connected !== null);
    expect(bytes.up).toBeGreaterThan(10);
    expect(bytes.down).toBeGreaterThan(10);
  });

  test("an open connection is shown as open, and a failed one with its reason", async () => {
    const peer = await dial("echo.demo", 7000);
    const open = await until("it is open", async () => {
      const found = await connectionsOf("echo.demo:7000 --state open");
      return found[0]?.state === "open" && found;
    });
    expect(open).toMatchObject([{ endpoint: "echo.demo:7000", end: null }]);
    peer.socket.destroy();
    await cloud.break("refuse=ERR_NGROK_3200*1");
    await (await dial("echo.demo", 7000)).left;
    const [refused] = await until("it was refused", async () => {
      const found = await connectionsOf("echo.demo --state ended --limit 1");
      return found[0]?.end?.kind === "refused" && found;
    });
    expect(refused?.end?.reason).toContain("ERR_NGROK_3200");
    expect(refused?.timeline_ms.upgraded).toBeNull();
    const table = await ngrokd("connections");
    expect(table.out).toContain("refused");
    expect(table.out).toContain("hello.demo:80");
  });

  test("a client's user is known if a rule asks for it, and a refused one is shown", async () => {
    const rules = [{ endpoint: "echo.demo", users: ["root"] }];
    writeConfig(configFor(cloud, { access: { rules } }));
    expect(await daemon.reload()).toMatchObject({ ok: true });
    const peer = await dial("echo.demo", 7000);
    const [open] = await until("it is open", async () => {
      const found = await connectionsOf("echo.demo --state open");
      return found[0]?.state === "open" && found;
    });
    expect(open?.user).toEqual({ uid: 0, name: "root" });
    peer.socket.destroy();
    await run(["curl", "-sS", "-m", "60", "telnet://echo.demo:7000"], { as: "nobody" });
    const [refused] = await until("the stranger is shown", async () => {
      const found = await connectionsOf("echo.demo --limit 1");
      return found[0]?.end?.kind === "access" && found;
    });
    expect(refused).toMatchObject({ user: { uid: 65534 }, end: { reason: expect.any(String) } });
    writeConfig(configFor(cloud));
    expect(await daemon.reload()).toMatchObject({ ok: true });
  });

  test("traffic counts connections and bytes by slot", async () => {
    await visit("hello.demo");
    const traffic = await until("the second is full", async () => {
      const { json } = await ngrokd("traffic hello.demo --step 60 --each --json");
      const sum = json.total.ended.reduce((a: number, b: number) => a + b, 0);
      return sum === 2 && json;
    });
    expect(traffic).toMatchObject({ step: 60, slots: 15, complete_from: 0 });
    expect(Object.keys(traffic.endpoints)).toEqual(["hello.demo:80"]);
    expect(traffic.latency_ms.first_byte.p99.some((value: number | null) => value !== null)).toBe(
      true,
    );
    const { out } = await ngrokd("traffic --seconds 60 --step 20");
    expect(linesOf(out)).toHaveLength(4);
  });

  test("events tell of endpoints, connections and polls, and go on after an id", async () => {
    const { out } = await ngrokd("events --kinds endpoint,certificate,phase --json");
    const events = linesOf(out).map((line) => JSON.parse(line) as Event);
    const told = events.map((event) => `${event.kind} ${"url" in event ? event.url : ""}`.trim());
    expect(told).toContain("endpoint.raised http://hello.demo");
    expect(told).toContain("certificate");
    expect(told).toContain("phase");
    const last = events.at(-1)?.id;
    await cloud.add("http://late.demo", page("late").address);
    await daemon.becomes("late.demo", "listening");
    const later = await ngrokd(`events --kinds endpoint --after ${last} --json`);
    expect(linesOf(later.out).map((line) => JSON.parse(line).url)).toEqual(["http://late.demo"]);
    const wrong = await ngrokd("events --kinds pol");
    expect({ code: wrong.code, err: wrong.err }).toEqual({
      code: 2,
      err: expect.stringContaining('There are no events of the kind "pol"'),
    });
  });

  test("`ngrokd tail` has a line for each connection as it ends", async () => {
    const tail = start("tail", [binary(), "tail", "hello.demo", "--json"]);
    const plain = start("tail", [binary(), "tail"]);
    await until("a connection is shown", async () => {
      await visit("hello.demo");
      return linesOf(tail.out()).length > 0 && linesOf(plain.out()).length > 0;
    });
    expect(JSON.parse(linesOf(tail.out())[0] ?? "")).toMatchObject({ endpoint: "hello.demo:80" });
    expect(plain.out()).toMatch(/hello\.demo:80 127\.0\.0\.\d+:\d+ finished after .* up, .* down/);
    expect(await tail.stop("SIGINT")).toBe(0);
    expect(await plain.stop("SIGINT")).toBe(0);
  });

  test("`ngrokd events --follow` goes on after a restart of the daemon, with a gap", async () => {
    const words = ["events", "--follow", "--kinds", "phase", "--json"];
    const follower = start("follower", [binary(), ...words]);
    await until("it shows events", () => linesOf(follower.out()).length > 0);
    expect(await daemon.stop()).toBe(0);
    daemon = await serve();
    const events = await until("it shows those of the new daemon", () => {
      const all = linesOf(follower.out()).map((line) => JSON.parse(line) as Event);
      const gap = all.findIndex(({ kind }) => kind === "gap");
      return gap >= 0 && all.length > gap + 1 && all.slice(gap);
    });
    expect(events[0]).toMatchObject({ kind: "gap", lost: null });
    expect(await follower.stop("SIGINT")).toBe(0);
    expect(await daemon.stop()).toBe(0);
  });
});
