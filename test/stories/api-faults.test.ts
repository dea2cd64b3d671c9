import { beforeAll, expect, test } from "bun:test";
import { type Cloud, configFor, registered, startCloud } from "../support/cloud.ts";
import { type Daemon, ngrokd, run, serve, writeConfig } from "../support/ngrokd.ts";
import { stories, until } from "../support/story.ts";
import { resolve } from "../support/tcp.ts";
import { page } from "../support/web.ts";

/** Ports of APIs that come back; the kernel gives them to no other socket. */
const [first, second] = [4050, 4051];

const works = async (): Promise<boolean> =>
  (await run(["curl", "-sS", "http://hello.demo/"])).out === "hello";

stories("ngrok's API has a bad day", () => {
  let cloud: Cloud;
  let daemon: Daemon;

  beforeAll(async () => {
    ({ cloud, daemon } = await registered({ cloud: { apiPort: first } }));
    await cloud.add("http://hello.demo", page("hello").address);
    await daemon.becomes("hello.demo", "listening");
  });

  const bad: readonly [fault: string, reason: RegExp][] = [
    ["429=1", /API answered 429/],
    ["500", /API answered 500/],
    ["html", /API answered 502 with an HTML page/],
    ["empty", /empty body/],
    ["drop", /./],
    ["foreign-page", /./],
  ];

  /**
   * Breaks the API and checks the daemon meanwhile, for any number of failed
   * polls.
   */
  const staysUp = async (fault: string, reason: RegExp): Promise<void> => {
    await cloud.break(fault);
    const status = await until("the daemon is degraded", async () => {
      const now = await daemon.status();
      return now.phase === "degraded" && now;
    });
    expect(status.reason).toMatch(reason);
    expect(status.last_poll).toMatchObject({ ok: false, reason: status.reason });
    expect(await works()).toBe(true);
    expect(await daemon.endpoint("hello.demo")).toMatchObject({ state: "listening" });
    expect((await ngrokd("health")).code).toBe(1);
    await cloud.mend();
  };

  const servesAgain = async (): Promise<void> => {
    await until("the daemon serves again", async () => (await daemon.status()).phase === "serving");
    expect(await daemon.status()).toMatchObject({
      reason: "",
      hint: "",
      last_poll: { ok: true, reason: "" },
    });
  };

  test.each(bad)(
    "%s: the daemon is degraded with a reason, goes on serving, and recovers",
    async (fault, reason) => {
      await staysUp(fault, reason);
      await servesAgain();
    },
  );

  test("401: the same, but a key refused twice is tried minutes later or on request", async () => {
    await staysUp(
      "401",
      /API answered 401: The local cloud was told to answer 401 \(ERR_NGROK_203, operation op_\w+\)/,
    );
    await daemon.refresh();
    await servesAgain();
  });

  test("`ngrokd refresh` during a fault fails with the reason and the hint", async () => {
    await cloud.break("401");
    const { code, err } = await ngrokd("refresh");
    expect(code).toBe(1);
    expect(err).toMatch(/^error: The poll failed: .*ERR_NGROK_203/);
    expect(err).toMatch(/\nhint: {2}.*set-api-key/);
    await cloud.mend();
    expect((await ngrokd("refresh")).code).toBe(0);
  });

  test("Retry-After is respected: no call before it has passed", async () => {
    await cloud.break("429=3");
    expect((await ngrokd("refresh")).code).toBe(1);
    const endOfPoll = async (): Promise<number> =>
      Date.parse((await daemon.status()).last_poll?.time ?? "");
    const refused = await endOfPoll();
    await cloud.mend();
    await until("the daemon serves again", async () => (await daemon.status()).phase === "serving");
    expect((await endOfPoll()) - refused).toBeGreaterThan(2990);
  });

  test("a failure is logged once, not at every poll", async () => {
    const told = () =>
      daemon
        .lines()
        .filter(({ message }) => message.includes("The local cloud was told to answer 503"));
    await cloud.break("503");
    for (let i = 0; i < 3; i += 1) await daemon.refresh();
    await cloud.mend();
    const marker = await cloud.add("http://marker.demo:8080", "127.0.0.1:9");
    await until("the log has come this far", async () => {
      await daemon.refresh();
      return daemon.log().includes("http://marker.demo:8080 listens");
    });
    expect(told()).toHaveLength(1);
    await cloud.remove(marker);
    await daemon.refresh();
  });

  test("a list that is empty once cuts nothing; seen twice it counts", async () => {
    await cloud.break("short-page*1"); // A list of one, cut in half.
    const { out } = await ngrokd("refresh");
    expect(out).toContain("1 endpoint.");
    expect(await works()).toBe(true);
    await until("the log tells of it", () =>
      daemon.log().includes("polling again before any is removed"),
    );

    await cloud.break("short-page");
    expect((await ngrokd("refresh")).out).toContain("0 endpoints.");
    expect(await resolve("hello.demo")).toBeUndefined();
    await cloud.mend();
    await daemon.becomes("hello.demo", "listening");
  });

  test("an API that is gone stops nothing, and is found again when it is back", async () => {
    const apiPort = first;
    await cloud.stop("SIGKILL");
    await until("the daemon has noticed", async () => (await daemon.status()).phase === "degraded");
    expect(await daemon.endpoint("hello.demo")).toMatchObject({ state: "listening" });
    expect(await resolve("hello.demo")).toBeDefined();

    expect(await daemon.stop()).toBe(0);
    daemon = await serve();
    const status = await until("the first poll has failed", async () => {
      const now = await daemon.status();
      return now.last_poll !== null && now;
    });
    expect(status).toMatchObject({ registered: true, phase: "degraded", last_poll: { ok: false } });
    expect(status.reason).toContain("refused");
    // It serves its former endpoints again.
    expect(await resolve("hello.demo")).toBeDefined();

    // The stand-in forgets its operators at its end. The new one does not know
    // us, so the daemon registers again.
    cloud = await startCloud({ apiPort });
    // Its ingress has another CA, which the daemon does not trust: so it polls
    // again, and is not ready.
    const again = await until("the poll works again, and the ingress does not", async () => {
      const now = await daemon.status();
      return now.last_poll?.ok === true && now.phase === "degraded" && now;
    });
    expect(again.registered).toBe(true);
    expect((await cloud.operators()).map(({ id }) => id)).toEqual([
      (await daemon.status()).operator_id,
    ]);
  });
});

stories("the API is down at boot, before the first registration", () => {
  test("the daemon runs, says so, and registers once the API is there", async () => {
    const apiPort = second;
    const cloud = await startCloud({ apiPort });
    await cloud.stop();
    writeConfig(configFor(cloud));
    const daemon = await serve();
    const status = await until("registration has failed", async () => {
      // Registration failed before the poll did. A failed poll does not prevent
      // the next registration.
      const now = await daemon.status();
      return now.registration === "failed" && now.last_poll !== null && now;
    });
    expect(status).toMatchObject({ registered: false, phase: "degraded" });
    expect((await ngrokd("status")).out).toContain("failed");
    await startCloud({ apiPort });
    await until("it has registered", async () => (await daemon.status()).registered);
  });
});
