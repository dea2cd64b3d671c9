import { expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { configFor, registered, startCloud } from "../support/cloud.ts";
import { ngrokd, run, serve, writeConfig } from "../support/ngrokd.ts";
import { stories, until } from "../support/story.ts";
import { page } from "../support/web.ts";

stories("`ngrokd wait` in a script", () => {
  test("begun before the daemon, it ends when the name works", async () => {
    const cloud = await startCloud();
    await cloud.add("http://hello.demo", page("hello").address);
    writeConfig(configFor(cloud));
    const waiting = ngrokd("wait hello.demo");
    const none = await ngrokd("wait --timeout 1");
    expect({ code: none.code, out: none.out }).toEqual({ code: 4, out: "" });
    expect(none.err).toStartWith("error: Waited 1 s in vain: No daemon answers");
    const daemon = await serve();
    expect(await waiting).toMatchObject({
      code: 0,
      out: "http://hello.demo is served on 127.0.0.2:80\n",
      err: "",
    });
    expect((await run(["curl", "-sS", "http://hello.demo/"])).out).toBe("hello");
    expect((await ngrokd("wait")).code).toBe(0);
    await daemon.stop();
    await cloud.stop();
  });

  test("a name that ngrok does not list is reported, with exit code 1", async () => {
    rmSync("/etc/ngrokd", { recursive: true, force: true });
    const { cloud, daemon } = await registered();
    const late = ngrokd("wait late.demo --timeout 100");
    // The daemon has one second for its answer, which may be too short here.
    const { code, out, err } = await until("the daemon answers in time", async () => {
      const once = await ngrokd("wait late.demo --timeout 0");
      return !once.err.includes("No answer from the daemon") && once;
    });
    expect({ code, out, first: err.split("\n")[0] }).toEqual({
      code: 1,
      out: "",
      first: "error: Not served yet: no endpoint has the name late.demo",
    });
    await cloud.add("http://late.demo", page("late").address);
    await daemon.refresh();
    expect((await late).code).toBe(0);
  });
});
