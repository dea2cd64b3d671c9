import { describe, expect, test } from "bun:test";
import { createOpening } from "../../src/daemon/opening.ts";
import { silentLog } from "../../src/model/log.ts";
import { createMeter } from "../../src/model/meter.ts";
import type { EndpointState } from "../../src/model/state.ts";
import type { Courtesy } from "../../src/relay/forward.ts";
import { net, pair, read } from "../support/conns.ts";

const stateOf = (url: string, state: EndpointState["state"], account = "default") =>
  ({
    account,
    ids: ["ep_1"],
    url,
    proto: "",
    host: "",
    port: 0,
    ip: "",
    ip6: "",
    state,
    reason: "",
    warning: "",
    meter: createMeter(),
  }) satisfies EndpointState;

const accounts = [
  {
    account: "default",
    endpoints: [
      stateOf("http://web.demo", "listening"),
      stateOf("tcp://build.demo:22", "failed"),
      stateOf("https://*.team.demo", "unsupported"),
      stateOf("http://paused.demo", "paused"),
    ],
  },
  { account: "other", endpoints: [stateOf("http://web.demo", "refused", "other")] },
];

/** Opens one stream; returns what the client reads, or the target. */
async function opened(
  args: string[],
  {
    rights = "all",
    refusal,
    end = "accepted",
  }: {
    rights?: "all" | "read";
    refusal?: { reason: string; detail: string; hint: string };
    end?: "accepted" | "refused";
  } = {},
): Promise<{ reply: unknown; target: string | undefined }> {
  let target: string | undefined;
  const [near, far] = await pair();
  const open = createOpening({
    net,
    relay: {
      carry({ account, binding }, conn, courtesy: Courtesy) {
        target = `${account} ${binding.key}`;
        if (end === "refused") courtesy.failed(conn, { kind: "refused", code: "X", text: "no" });
        else void Promise.resolve(courtesy.accepted(conn)).then(() => far.close());
      },
    },
    guard: { judgeUser: () => refusal },
    accounts: () => accounts,
    log: silentLog,
  });
  open(far, args ?? [], rights);
  const reply: unknown = JSON.parse(await read(near));
  near.close();
  return { reply, target };
}

describe("a stream over the control socket", () => {
  test("leads to the first account with the endpoint, also without a door", async () => {
    const targets = [];
    for (const text of ["web.demo:80", "build.demo:22", "x.team.demo:443"])
      targets.push((await opened([text])).target);
    expect(targets).toEqual([
      "default web.demo:80",
      "default build.demo:22",
      "default x.team.demo:443",
    ]);
    expect((await opened(["web.demo:80", "--profile=other"])).target).toBe("other web.demo:80");
  });

  test.each(["paused.demo:80", "no.demo:80", "web.demo:81", "web.demo", "a b:1"])(
    "is refused for %s",
    async (text) => {
      const { reply, target } = await opened([text]);
      expect({ reply, target }).toMatchObject({ reply: { success: false }, target: undefined });
    },
  );

  test("is for those who may change the daemon, who can ask before", async () => {
    expect((await opened([])).reply).toEqual({ success: true, data: {} });
    expect((await opened([], { rights: "read" })).reply).toMatchObject({ code: "permission" });
    expect(await opened(["web.demo:80"], { rights: "read" })).toMatchObject({
      reply: { code: "permission" },
      target: undefined,
    });
  });

  test("is refused by a rule before anything is dialled", async () => {
    const refusal = { reason: "a reason", detail: "the user may not", hint: "a hint" };
    expect(await opened(["web.demo:80"], { refusal })).toEqual({
      reply: {
        success: false,
        error: "web.demo:80: the user may not",
        code: "permission",
        hint: "a hint",
      },
      target: undefined,
    });
  });

  test("that the ingress refuses ends with the reason", async () => {
    expect((await opened(["web.demo:80"], { end: "refused" })).reply).toMatchObject({
      code: "refused",
      error: "The ingress refused web.demo:80: no",
    });
  });
});
