import { beforeAll, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { machineUid } from "../../src/ingress/machine-identity.ts";
import { type Cloud, configFor, registered } from "../support/cloud.ts";
import { type Daemon, ngrokd, run, writeConfig } from "../support/ngrokd.ts";
import { stories, until } from "../support/story.ts";
import { page } from "../support/web.ts";

const id = "0123456789abcdef0123456789abcdef";

stories("the identity of the machine", () => {
  let cloud: Cloud;
  let daemon: Daemon;

  beforeAll(async () => {
    writeFileSync("/etc/machine-id", `${id}\n`);
    ({ cloud, daemon } = await registered({ args: "--json" }));
    await cloud.add("http://hello.demo", page("hello").address);
    await daemon.becomes("hello.demo", "listening");
  });

  const reload = async (identity: object): Promise<void> => {
    writeConfig(configFor(cloud, { identity }));
    await daemon.reload();
  };
  /** What the ingress gets with the request of this user. */
  const identityFor = async (as?: "nobody") => {
    const { out } = await run(["curl", "-sS", "http://hello.demo/"], as && { as });
    expect(out).toBe("hello");
    return (await cloud.requests()).at(-1);
  };

  test("is not sent by default", async () => {
    expect(await identityFor()).toMatchObject({ host: "hello.demo", port: 80, identity: null });
  });

  test("is a hash of the machine's id, its name and the annotations, after a reload", async () => {
    await reload({ send: true, annotations: { "ngrok.com/team": "payments" } });
    expect((await identityFor("nobody"))?.identity).toEqual({
      uid: machineUid(id),
      name: hostname(),
      namespace: "",
      annotations: { "ngrok.com/team": "payments" },
    });
    expect(JSON.stringify(await cloud.requests())).not.toContain(id);
  });

  test("names the user who connects, if asked", async () => {
    await reload({ send: true, user: true });
    expect((await identityFor("nobody"))?.identity?.annotations).toEqual({
      "ngrok.com/user": "nobody",
    });
    expect((await identityFor())?.identity?.annotations).toEqual({ "ngrok.com/user": "root" });
  });

  test("is what `why` and `doctor` send too, without a user", async () => {
    for (const command of ["why hello.demo", "doctor"]) {
      // A busy machine can miss one of their deadlines.
      await until("it finds no fault", async () => (await ngrokd(command)).code === 0);
      const sent = (await cloud.requests()).filter(({ host }) => host === "hello.demo").at(-1);
      expect(sent?.identity).toMatchObject({ uid: machineUid(id), annotations: {} });
      await identityFor();
    }
  });

  test("stays away again when it is switched off", async () => {
    await reload({ send: false, user: true });
    expect((await identityFor("nobody"))?.identity).toBeNull();
  });

  test("a notice of the ingress is in list and in events, once, until it is over", async () => {
    await cloud.break("notice=your plan ends soon*2");
    await identityFor();
    await identityFor();
    expect((await daemon.endpoint("hello.demo"))?.connections).toMatchObject({
      last_error: "",
      last_notice: "your plan ends soon",
    });
    expect((await ngrokd("list")).out).toContain("    ngrok says: your plan ends soon\n");
    const { json } = await ngrokd("events --kinds notice --json");
    expect(json).toMatchObject({
      kind: "notice",
      profile: "default",
      endpoint: "hello.demo:80",
      text: "your plan ends soon",
    });
    expect((await ngrokd("events --kinds notice")).out).toMatch(
      /^\S+ notice hello.demo:80 ngrok says: your plan ends soon\n$/,
    );
    await identityFor();
    expect((await ngrokd("list")).out).not.toContain("ngrok says");
  });
});
