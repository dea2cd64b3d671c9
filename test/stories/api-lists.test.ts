import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { configFor, registered, startCloud } from "../support/cloud.ts";
import { ngrokd, run, serve, writeConfig } from "../support/ngrokd.ts";
import { carries, echoes, talking } from "../support/round-trip.ts";
import { atEnd, freshMachine, stories, until } from "../support/story.ts";
import { echo } from "../support/tcp.ts";
import { page } from "../support/web.ts";

stories("lists of ngrok's API", () => {
  test("whose pages lead in a circle degrade the daemon with a reason, and retire none", async () => {
    const { cloud, daemon } = await registered();
    await cloud.add("http://hello.demo", page("hello").address);
    await daemon.becomes("hello.demo", "listening");
    const { operator_id } = await daemon.status();
    await cloud.break(
      `foreign-page=${cloud.apiUrl}/kubernetes_operators/${operator_id}/bound_endpoints`,
    );
    const { code, err } = await ngrokd("refresh");
    expect({ code, err }).toEqual({
      code: 1,
      err: expect.stringContaining("the pages lead in a circle"),
    });
    expect((await daemon.status()).phase).toBe("degraded");
    expect((await run(["curl", "-sS", "http://hello.demo/"])).out).toBe("hello");
    await cloud.mend();
    await until("it serves again", async () => (await daemon.status()).phase === "serving");
    expect(await daemon.endpoint("hello.demo")).toMatchObject({ state: "listening" });
    expect(await daemon.stop()).toBe(0);
  });

  test("that are huge, or nothing but brackets, fail the poll alone, within bounds", async () => {
    freshMachine();
    const cloud = await startCloud();
    const flood: { body: string | undefined } = { body: undefined };
    const front = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      async fetch(request) {
        const { pathname, search } = new URL(request.url);
        if (flood.body !== undefined && pathname.endsWith("/bound_endpoints"))
          return new Response(flood.body);
        const init = { method: request.method, headers: request.headers };
        const body = request.method === "GET" ? {} : { body: await request.arrayBuffer() };
        return await fetch(cloud.apiUrl + pathname + search, { ...init, ...body });
      },
    });
    atEnd(() => front.stop(true));
    const url = `http://127.0.0.1:${front.port}`;
    writeConfig({
      ...configFor(cloud, { api: { url } }),
      bound_endpoints: { poll_interval: 3600 },
    });
    const daemon = await serve();
    await cloud.add("tcp://echo.demo:7000", (await echo()).address);
    await daemon.refresh();
    await daemon.becomes("echo.demo", "listening");
    const open = await talking("echo.demo", 7000);
    const page = (item: string, bytes: number): string =>
      `{"endpoints":[${Array(Math.floor(bytes / (item.length + 1)))
        .fill(item)
        .join(",")}]}`;
    const mib = 1024 * 1024;
    for (const [body, reason] of [
      [page("{}", 60 * mib), "answered with more than 8388608 bytes"],
      [page("{}", 8 * mib - 100), "the list has more than 50000 items"],
      [page("7", 8 * mib - 100), "the list has more than 50000 items"],
      [`{"endpoints":[${"[".repeat(7 * mib)}`, "no list of endpoints"],
    ] as const) {
      flood.body = body;
      expect((await ngrokd("refresh")).err).toContain(reason);
      expect(await echoes(open, "still")).toBe(true);
      expect(await carries("echo.demo", 7000)).toBe(true);
    }
    expect((await daemon.status()).phase).toBe("degraded");
    const { pid } = await daemon.status();
    const [, peak] = /VmHWM:\s*(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
    expect(Number(peak) / 1024).toBeLessThan(600);
    flood.body = undefined;
    await daemon.refresh();
    expect((await daemon.status()).phase).toBe("serving");
    expect(await daemon.endpoint("echo.demo")).toMatchObject({ state: "listening" });
    open.reset();
    expect(await daemon.stop()).toBe(0);
  });
});
