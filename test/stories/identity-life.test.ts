import { beforeAll, beforeEach, expect, test } from "bun:test";
import { copyFileSync, existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { type Cloud, configFor, registered, startCloud } from "../support/cloud.ts";
import { binary, type Daemon, examine, ngrokd, serve, writeConfig } from "../support/ngrokd.ts";
import { freshMachine, stories, until } from "../support/story.ts";
import { dial, echo, type Peer } from "../support/tcp.ts";
import { onTerminal } from "../support/terminal.ts";

const folder = "/etc/ngrokd";
const file = (name: string): string => readFileSync(`${folder}/${name}`, "utf8");
const serial = async (daemon: Daemon): Promise<string> =>
  (await daemon.status()).certificate?.fingerprint ?? "";
const ids = async (cloud: Cloud): Promise<string[]> =>
  (await cloud.operators()).map(({ id }) => id);
const warned = async (daemon: Daemon, text: string): Promise<boolean> =>
  (await daemon.status()).warnings.some((one) => one.includes(text));

/** A round trip on an open connection. */
async function echoes(peer: Peer, word: string): Promise<boolean> {
  await peer.write(word);
  return (await peer.read(word.length)) === word;
}

/** A round trip on a new connection. */
async function carries(): Promise<boolean> {
  const peer = await dial("echo.demo", 7000);
  const good = await echoes(peer, "new").catch(() => false);
  peer.reset();
  return good;
}

async function serving(
  options: Parameters<typeof registered>[0] = {},
): Promise<{ cloud: Cloud; daemon: Daemon; open: Peer }> {
  freshMachine();
  const { cloud, daemon } = await registered(options);
  await cloud.add("tcp://echo.demo:7000", (await echo()).address);
  await daemon.refresh();
  await daemon.becomes("echo.demo", "listening");
  const open = await dial("echo.demo", 7000);
  expect(await echoes(open, "first")).toBe(true);
  return { cloud, daemon, open };
}

stories("the client certificate", () => {
  test("is renewed when it is due, with the same key, and no connection notices", async () => {
    const { cloud, daemon, open } = await serving({ cloud: { args: "--cert-lifetime 30" } });
    const [key, [id]] = [file("tls.key"), await ids(cloud)];
    await cloud.certificateLife(86_400);
    // The certificate of the longer life. It may have been renewed for another
    // 30 seconds by now.
    const { not_after } = await until("it is renewed", async () => {
      const { certificate } = await daemon.status();
      return certificate !== null && certificate.days_left > 0.9 && certificate;
    });
    // It is in use before it is saved and reported.
    const told = `Renewed the client certificate; it is valid until ${not_after}`;
    await until("the log tells of it", () =>
      daemon.lines().some(({ message }) => message === told),
    );
    expect(await echoes(open, "still")).toBe(true);
    expect(await carries()).toBe(true);
    expect(file("tls.key")).toBe(key);
    expect((await ids(cloud)).join()).toBe(id ?? "");
    expect((await daemon.status()).warnings).toEqual([]);
    open.reset();
    expect(await daemon.stop()).toBe(0);
  });

  test("that is due and cannot be renewed is reported, tried again, and the polls go on", async () => {
    const { cloud, daemon, open } = await serving({ cloud: { args: "--cert-lifetime 75" } });
    // One that ends earlier is no renewal.
    await cloud.certificateLife(1);
    const failures = async (): Promise<number> =>
      (await daemon.status()).certificate?.renewal_trouble?.failures ?? 0;
    // The next try may follow within 0.1 s, so this can be a later one.
    const first = await until("a renewal has failed", async () => {
      const seen = await failures();
      return seen > 0 && seen;
    });
    await until("it is tried again", async () => (await failures()) > first);
    expect(await warned(daemon, "renewing it has failed")).toBe(true);
    expect((await ngrokd("status")).out).toContain("could not be renewed");
    expect((await daemon.status()).phase).toBe("serving");
    expect(await (await fetch("http://127.0.0.1:8081/readyz")).text()).toMatch(
      /^ready\nwarning: The client certificate expires in .*failed/,
    );
    await cloud.certificateLife(86_400_000);
    // The daemon's own next try may come first. A second later, the certificate
    // ends later again.
    const { out } = await until("a forced renewal succeeds", async () => {
      const forced = await ngrokd("refresh-cert --force");
      return forced.code === 0 && forced;
    });
    expect(out).toMatch(/^Renewed: the certificate is valid for \d+ days/);
    expect((await daemon.status()).certificate?.renewal_trouble).toBeNull();
    open.reset();
    expect(await daemon.stop()).toBe(0);
  });

  test("that is not due is no worry if a forced renewal fails", async () => {
    const { cloud, daemon, open } = await serving();
    await cloud.certificateLife(6);
    expect((await ngrokd("refresh-cert --force")).err).toContain("no later than the one in use");
    await daemon.refresh();
    const { certificate, warnings } = await daemon.status();
    expect({ trouble: certificate?.renewal_trouble, warnings }).toEqual({
      trouble: null,
      warnings: [],
    });
    expect(await (await fetch("http://127.0.0.1:8081/readyz")).text()).toBe("ready\n");
    expect(daemon.log()).toContain("could not be renewed");
    open.reset();
    expect(await daemon.stop()).toBe(0);
  });

  test("`refresh-cert` says for how long nothing is due, to the Go client as well", async () => {
    const { daemon, open } = await serving();
    const { code, out } = await ngrokd("refresh-cert");
    expect({ code, out }).toEqual({
      code: 0,
      out: expect.stringMatching(/^Not renewed: the certificate is valid for another 89 days\./),
    });
    expect((await ngrokd("refresh-cert --json")).json).toMatchObject({
      renewed: false,
      days_left: expect.any(Number),
    });
    open.reset();
    expect(await daemon.stop()).toBe(0);
    const { code: dead, err } = await ngrokd("refresh-cert");
    expect({ code: dead, err }).toEqual({
      code: 4,
      err: expect.stringContaining("No daemon answers"),
    });
  });

  test("that expired while the daemon was off is renewed before anything is dialled", async () => {
    const { cloud, daemon, open } = await serving();
    open.reset();
    await daemon.stop();
    const [id] = await ids(cloud);
    // A certificate for one second instead of three months.
    await cloud.certificateLife(1);
    const answer = await cloud.api("PATCH", `/kubernetes_operators/${id}`, {
      binding: { csr: await csr() },
    });
    writeFileSync(`${folder}/tls.crt`, answer.binding.cert.cert);
    const end = Date.parse(await notAfter());
    await until("it has expired", () => Date.now() > end);
    await cloud.certificateLife(86_400);
    const again = await serve();
    await again.becomes("echo.demo", "listening");
    expect(await carries()).toBe(true);
    expect((await ids(cloud)).join()).toBe(id ?? "");
    expect(again.log()).toContain("expired on");
    expect(await again.stop()).toBe(0);
  });

  test("changed on disk is taken over; a broken one is not, and says why", async () => {
    const { cloud, daemon, open } = await serving();
    const before = await serial(daemon);
    const answer = await cloud.api("PATCH", `/kubernetes_operators/${file("operator_id")}`, {
      binding: { csr: await csr() },
    });
    writeFileSync(`${folder}/tls.crt`, "no certificate");
    await until(
      "it is reported",
      async () => await warned(daemon, "cannot be used, so the previous ones stay in use"),
    );
    expect(await carries()).toBe(true);
    writeFileSync("/run/tmp/next.crt", answer.binding.cert.cert);
    renameOver("/run/tmp/next.crt", `${folder}/tls.crt`);
    await until("it is taken over", async () => (await serial(daemon)) !== before);
    expect((await daemon.status()).warnings).toEqual([]);
    expect(await carries()).toBe(true);
    expect(await echoes(open, "still")).toBe(true);
    open.reset();
    expect(await daemon.stop()).toBe(0);
  });
});

stories("an operator that is deleted in the dashboard", () => {
  test("is replaced by a new one; addresses, listeners and open connections stay", async () => {
    const { cloud, daemon, open } = await serving();
    const [old = ""] = await ids(cloud);
    const { ip } = (await daemon.endpoint("echo.demo")) ?? {};
    await cloud.api("DELETE", `/kubernetes_operators/${old}`);
    await until("it is registered again", async () => (await ids(cloud)).length === 1);
    await until(
      "the daemon serves",
      async () =>
        (await daemon.status()).operator_id !== old && (await daemon.status()).phase === "serving",
    );
    expect(await carries()).toBe(true);
    expect(await daemon.endpoint("echo.demo")).toMatchObject({ ip, state: "listening" });
    expect(await echoes(open, "still")).toBe(true);
    expect(await ids(cloud)).toEqual([file("operator_id")]);
    expect(daemon.log()).not.toContain("is gone");
    open.reset();
    expect(await daemon.stop()).toBe(0);
  });

  test("a proxy's HTML 404 does nothing", async () => {
    const { cloud, daemon, open } = await serving();
    const before = await ids(cloud);
    await cloud.break("html=404");
    await until("the daemon has noticed", async () =>
      (await daemon.status()).reason.includes("404"),
    );
    for (let i = 0; i < 3; i += 1) expect((await ngrokd("refresh")).code).toBe(1);
    await cloud.mend();
    for (let i = 0; i < 5; i += 1) await daemon.refresh();
    expect(await ids(cloud)).toEqual(before);
    expect((await daemon.status()).phase).toBe("serving");
    expect(await carries()).toBe(true);
    open.reset();
    expect(await daemon.stop()).toBe(0);
  });

  test("a wrong path in `api.url`, for which ngrok sends 404, does nothing", async () => {
    const { cloud, daemon, open } = await serving();
    const before = await ids(cloud);
    const url = `${cloud.apiUrl}/wrong`;
    writeConfig(configFor(cloud, { api: { url, key: "local-cloud-key" } }));
    await daemon.reload();
    await until("the daemon has noticed", async () =>
      (await daemon.status()).reason.includes("404"),
    );
    for (let i = 0; i < 3; i += 1) await daemon.refresh();
    expect(await ids(cloud)).toEqual(before);
    expect(file("operator_id")).toBe(before[0] ?? "");
    // The poll alone has failed: nothing is registered.
    expect((await daemon.status()).reason).toContain("Cannot list the endpoints bound to");
    expect((await examine("doctor")).out).toContain("api.url");
    expect(await carries()).toBe(true);
    open.reset();
    expect(await daemon.stop()).toBe(0);
  });
});

stories("API keys", () => {
  let cloud: Cloud;
  let daemon: Daemon;

  beforeEach(async () => {
    freshMachine();
    cloud = await startCloud();
    writeConfig(configFor(cloud));
    daemon = await serve();
    await cloud.add("tcp://echo.demo:7000", (await echo()).address);
    await daemon.becomes("echo.demo", "listening");
  });

  test("a revoked one degrades the daemon with advice, until there is a new key", async () => {
    await cloud.key("the-new-key-9", "main");
    await cloud.key(cloud.apiKey, undefined);
    const { hint } = await until("the daemon has noticed", async () => {
      const now = await daemon.status();
      return now.phase === "degraded" && now;
    });
    expect(hint).toContain("set-api-key");
    expect(await carries()).toBe(true);
    await daemon.refresh();
    await daemon.refresh();
    const { failed_polls, next_poll } = await daemon.status();
    expect(failed_polls).toBeGreaterThan(1);
    expect(Date.parse(next_poll) - Date.now()).toBeGreaterThan(200_000);
    const { code, out } = await ngrokd("set-api-key -", { stdin: "the-new-key-9" });
    expect({ code, out }).toEqual({
      code: 0,
      out: expect.stringContaining("ngrok accepted the key"),
    });
    expect((await daemon.status()).phase).toBe("serving");
    await daemon.stop();
  });

  test("one of another account is explained, and moves this machine only if asked to", async () => {
    await cloud.key("another-key-9", "another");
    const [old = ""] = await ids(cloud);
    const open = await dial("echo.demo", 7000);
    expect(await echoes(open, "first")).toBe(true);
    const refused = await ngrokd("set-api-key -", { stdin: "another-key-9" });
    expect(refused.code).toBe(1);
    expect(refused.err).toContain(`does not know this machine's operator "${old}"`);
    expect(refused.err).toContain("it is a key of another account");
    expect(refused.err).toContain("--switch-account");
    expect({
      ids: await ids(cloud),
      configHasNewKey: file("config.yml").includes("another-key-9"),
    }).toEqual({ ids: [old], configHasNewKey: false });

    const moved = await ngrokd("set-api-key - --switch-account", { stdin: "another-key-9" });
    expect({ code: moved.code, out: moved.out }).toEqual({
      code: 0,
      out: expect.stringContaining(`The operator ${old} of the old account is deleted.`),
    });
    expect(file("config.yml")).toContain("another-key-9");
    const now = await ids(cloud);
    expect(now).toEqual([file("operator_id")]);
    expect(now).not.toEqual([old]);
    expect(await carries()).toBe(true);
    expect(await echoes(open, "still")).toBe(true);
    open.reset();
    await daemon.stop();
  });

  test("one of another account in the configuration does not cost the operator", async () => {
    await cloud.key("another-key-9", "another");
    const before = await ids(cloud);
    writeConfig(configFor(cloud, { api: { key: "another-key-9" } }));
    const { hint } = await until("the daemon has noticed", async () => {
      const now = await daemon.status();
      return now.reason.includes("of another account") && now;
    });
    expect(hint).toContain("--switch-account");
    expect(await ids(cloud)).toEqual(before);
    expect(await carries()).toBe(true);
    await daemon.stop();
  });

  test("without a daemon the move is made by the command itself", async () => {
    await daemon.stop();
    await cloud.key("another-key-9", "another");
    const [old = ""] = await ids(cloud);
    const moved = await ngrokd("set-api-key - --switch-account", { stdin: "another-key-9" });
    expect({ code: moved.code, out: moved.out }).toEqual({
      code: 0,
      out: expect.stringContaining(`The operator ${old} of the old account is deleted.`),
    });
    expect(await ids(cloud)).toEqual([file("operator_id")]);
    daemon = await serve();
    await daemon.becomes("echo.demo", "listening");
    expect(await carries()).toBe(true);
    await daemon.stop();
  });
});

stories("`ngrokd unregister`", () => {
  test("asks, refuses beside a daemon, and leaves nothing behind at ngrok or here", async () => {
    const { cloud, daemon, open } = await serving();
    open.reset();
    const beside = await ngrokd("unregister --yes");
    expect({ code: beside.code, err: beside.err }).toEqual({
      code: 6,
      err: expect.stringContaining("it would register this machine again"),
    });
    await daemon.stop();
    const [id = ""] = await ids(cloud);
    const unasked = await ngrokd("unregister");
    expect({ code: unasked.code, err: unasked.err }).toEqual({
      code: 2,
      err: expect.stringContaining("`ngrokd unregister --yes`"),
    });
    const no = await onTerminal([binary(), "unregister"], { type: ["Delete the operator", "n"] });
    expect({ code: no.code, ids: await ids(cloud) }).toEqual({ code: 1, ids: [id] });

    await cloud.break("500*1");
    expect((await ngrokd("unregister --yes")).err).toContain("nothing was changed");
    expect(existsSync(`${folder}/tls.key`)).toBe(true);
    const { code, out } = await ngrokd("unregister --yes");
    expect({ code, out }).toEqual({
      code: 0,
      out: expect.stringContaining(`Deleted the operator ${id}`),
    });
    expect(await ids(cloud)).toEqual([]);
    for (const name of ["tls.key", "tls.crt", "operator_id", "ingress_endpoint"])
      expect(existsSync(`${folder}/${name}`)).toBe(false);
    expect((await ngrokd("unregister --yes --json")).json).toEqual({
      unregistered: false,
      operator_id: null,
    });
  });

  test("with --local-only needs no key", async () => {
    const { cloud, daemon, open } = await serving();
    open.reset();
    await daemon.stop();
    await cloud.key(cloud.apiKey, undefined);
    expect((await ngrokd("unregister --yes")).err).toContain("--local-only");
    const { code, out } = await ngrokd("unregister --yes --local-only");
    expect({ code, out }).toEqual({
      code: 0,
      out: expect.stringContaining("is still in the account"),
    });
    expect(existsSync(`${folder}/tls.key`)).toBe(false);
    expect(await cloud.operators()).toHaveLength(1);
  });
});

stories("`ngrokd operators`", () => {
  let cloud: Cloud;
  let mine: string;

  beforeAll(async () => {
    const { daemon, open, ...rest } = await serving();
    cloud = rest.cloud;
    open.reset();
    await daemon.stop();
    mine = file("operator_id");
    const add = async (metadata: object): Promise<string> =>
      (
        await cloud.api("POST", "/kubernetes_operators", {
          metadata: JSON.stringify(metadata),
          enabled_features: ["bindings"],
          binding: { endpoint_selectors: ["true"], csr: await csr() },
        })
      ).id;
    const { hostname } = (await ngrokd("operators --json")).json[0];
    await add({ "owned-by": "ngrokd", hostname: "elsewhere" });
    await add({ "owned-by": "ngrokd", hostname });
    await add({ "owned-by": "a cluster" });
    await cloud.certificateLife(1);
    const old = await add({ "owned-by": "ngrokd", hostname: "old-box" });
    const kindOfOld = async () =>
      (await ngrokd("operators --json")).json.find(({ id }: { id: string }) => id === old).kind;
    await until("one has expired", async () => (await kindOfOld()) === "expired");
  });

  const kinds = async () =>
    (await ngrokd("operators --json")).json.map(({ kind }: { kind: string }) => kind).sort();

  test("lists those that ngrokd made, and marks this machine's and stale ones", async () => {
    expect(await kinds()).toEqual(["expired", "other", "same name", "this machine"]);
    const { out } = await ngrokd("operators");
    expect(out).toMatch(new RegExp(`${mine}.*this machine`));
    expect(out).toContain("--same-name");
  });

  test("--same-name without --prune is a mistake, and no list of all", async () => {
    const { code, out, err } = await ngrokd("operators --same-name");
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err).toStartWith("error: --same-name has no effect without --prune\n");
  });

  test("--prune deletes expired ones, those of the same name only if asked, no others", async () => {
    expect((await ngrokd("operators --prune")).code).toBe(2);
    expect((await ngrokd("operators --prune --yes")).out).toBe("Deleted 1 of 1 operator.\n");
    expect(await kinds()).toEqual(["other", "same name", "this machine"]);
    const shown = await onTerminal([binary(), "operators", "--prune", "--same-name"], {
      type: ["Delete 1 operator?", "y"],
    });
    expect({ code: shown.code, text: shown.text }).toEqual({
      code: 0,
      text: expect.stringContaining("same name"),
    });
    expect(await kinds()).toEqual(["other", "this machine"]);
    expect((await ngrokd("operators --prune --same-name --yes")).out).toBe(
      "There is nothing to delete.\n",
    );
    expect(await cloud.operators()).toHaveLength(3);
  });
});

stories("`ngrokd operators` after the Go program", () => {
  test("lists the adopted one and orphans of the Go program and its SDK", async () => {
    const { cloud, daemon, open } = await serving();
    open.reset();
    await daemon.stop();
    const mine = file("operator_id");
    const go = { description: "ngrokd daemon", metadata: '{"type":"forward-proxy"}' };
    await cloud.api("PATCH", `/kubernetes_operators/${mine}`, go);
    const add = async (facts: object): Promise<string> => {
      const binding = { endpoint_selectors: ["true"], csr: await csr() };
      return (await cloud.api("POST", "/kubernetes_operators", { ...facts, binding })).id;
    };
    const alive = await add(go);
    await add({ description: "a cluster", metadata: '{"type":"sdk"}' });
    await cloud.certificateLife(1);
    const sdk = await add({ description: "ngrokd-sdk", metadata: '{"type":"sdk"}' });
    const listed = async (): Promise<string[]> =>
      (await ngrokd("operators --json")).json.map(
        (one: { id: string; kind: string; made_by: string }) =>
          `${one.id} ${one.kind} ${one.made_by}`,
      );
    const living = [`${alive} other the Go program`, `${mine} this machine the Go program`];
    await until("one has expired", async () => (await listed()).join().includes("expired"));
    expect(await listed()).toEqual([`${sdk} expired the Go SDK`, ...living]);
    const { out } = await ngrokd("operators");
    expect(out).toMatch(new RegExp(`${mine} +the Go program .*this machine`));
    expect((await ngrokd("operators --prune --yes")).out).toBe("Deleted 1 of 1 operator.\n");
    expect(await listed()).toEqual(living);
    expect(await cloud.operators()).toHaveLength(3);
  });
});

/** The API's failures, and the messages for them. */
const faults: readonly [fault: string, reason: RegExp][] = [
  ["401", /answered 401: .*\(ERR_NGROK_203, operation op_\w+\)/],
  ["403", /answered 403/],
  ["404", /answered 404/],
  ["429=1", /answered 429/],
  ["500", /answered 500/],
  ["html", /answered 502 with an HTML page/],
  ["html=404", /answered 404 with an HTML page/],
  ["empty", /empty body/],
  ["drop", /cut|reset|closed|failed/],
];

stories("whatever the API does wrong", () => {
  let cloud: Cloud;
  let daemon: Daemon;
  let open: Peer;

  /**
   * All is right again, with one operator and the connection that was open all
   * the time.
   */
  async function whole(): Promise<void> {
    await cloud.mend();
    await until("the daemon serves", async () => {
      await ngrokd("refresh");
      return (await daemon.status()).phase === "serving";
    });
    expect(await ids(cloud)).toEqual([file("operator_id")]);
    expect((await daemon.status()).operator_id).toBe(file("operator_id"));
    expect(await carries()).toBe(true);
  }

  beforeAll(async () => {
    // Polls come only on request. So none meets a fault, or repairs its effect,
    // while a command runs.
    ({ cloud, daemon, open } = await serving({
      config: { bound_endpoints: { poll_interval: 3600 } },
    }));
  });

  test.each(faults)(
    "%s in steady work: degraded, with the reason; nothing is lost",
    async (fault, reason) => {
      await cloud.break(fault);
      const { code, err } = await ngrokd("refresh");
      expect({ code, err }).toEqual({ code: 1, err: expect.stringMatching(reason) });
      expect((await daemon.status()).phase).toBe("degraded");
      expect(await carries()).toBe(true);
      expect(await echoes(open, "still")).toBe(true);
      await whole();
    },
  );

  test.each(faults)(
    "%s while the certificate is renewed: the old one stays until one succeeds",
    async (fault, reason) => {
      const before = await serial(daemon);
      await cloud.break(fault);
      const { code, err } = await ngrokd("refresh-cert --force");
      expect({ code, err }).toEqual({ code: 1, err: expect.stringMatching(reason) });
      // It was forced and not due, so there is nothing to warn of.
      expect(await warned(daemon, "renewing it has failed")).toBe(false);
      expect({
        serial: await serial(daemon),
        carries: await carries(),
        openEchoes: await echoes(open, "still"),
      }).toEqual({ serial: before, carries: true, openEchoes: true });
      await cloud.mend();
      // X.509 counts in seconds: only a later one is a better one.
      await until("it is renewed", async () => (await ngrokd("refresh-cert --force")).code === 0);
      expect(await serial(daemon)).not.toBe(before);
      await whole();
    },
  );

  test.each(faults)(
    "%s while the operator is registered again: no second one; open ones go on",
    async (fault, reason) => {
      const [old = ""] = await ids(cloud);
      await cloud.break("only=POST");
      await cloud.break(fault);
      await cloud.api("DELETE", `/kubernetes_operators/${old}`);
      const { code, err } = await ngrokd("refresh");
      expect({ code, err }).toEqual({ code: 1, err: expect.stringMatching(reason) });
      // The old operator stays in use until there is another. If only the
      // answer was lost, there is one. The next attempt finds it and may come
      // at any moment.
      const made = await ids(cloud);
      expect(made).toHaveLength(fault === "drop" ? 1 : 0);
      const { operator_id, phase } = await daemon.status();
      for (const id of [file("operator_id"), operator_id]) expect([old, ...made]).toContain(id);
      if (made.length === 0) expect(phase).toBe("degraded");
      expect(await echoes(open, "still")).toBe(true);
      expect(await daemon.endpoint("echo.demo")).toMatchObject({ state: "listening" });
      await whole();
      if (made.length > 0) expect(await ids(cloud)).toEqual(made);
    },
  );

  test.each(faults)(
    "%s at the first start: the daemon runs and says why; it registers once",
    async (fault, reason) => {
      open.reset();
      await daemon.stop();
      expect((await ngrokd("unregister --yes")).code).toBe(0);
      await cloud.break(fault);
      daemon = await serve();
      const status = await until("registration has failed", async () => {
        const now = await daemon.status();
        return now.registration === "failed" && now.phase === "degraded" && now;
      });
      expect(status.reason).toMatch(reason);
      await whole();
    },
  );
});

/**
 * A certificate request for this machine's key, made by openssl as an
 * administrator would.
 */
async function csr(): Promise<string> {
  const child = Bun.spawn(
    ["openssl", "req", "-new", "-key", `${folder}/tls.key`, "-subj", "/", "-batch"],
    {
      stdout: "pipe",
      stderr: "ignore",
    },
  );
  return await child.stdout.text();
}

async function notAfter(): Promise<string> {
  const child = Bun.spawn(["openssl", "x509", "-in", `${folder}/tls.crt`, "-noout", "-enddate"], {
    stdout: "pipe",
  });
  return (await child.stdout.text()).trim().replace("notAfter=", "");
}

/**
 * Replaces a file as an editor or a deployment tool does, also across file
 * systems.
 */
function renameOver(from: string, to: string): void {
  copyFileSync(from, `${to}.new`);
  renameSync(`${to}.new`, to);
}
