import { beforeAll, expect, test } from "bun:test";
import { appendFileSync, copyFileSync, mkdirSync } from "node:fs";
import { dashboard, inaccessible, picture, type Tab } from "../support/browser.ts";
import { type Cloud, configFor, registered, startCloud } from "../support/cloud.ts";
import { attack } from "../support/hostile-page.ts";
import { type Daemon, missedDeadline, ngrokd, run, serve, writeConfig } from "../support/ngrokd.ts";
import { stories, until } from "../support/story.ts";
import { web } from "../support/web.ts";

const server = { dashboard_address: "127.0.0.1:8082" };

let cloud: Cloud;
let daemon: Daemon;
let tab: Tab;

const text = async (selector: string): Promise<string> =>
  (await tab.page.locator(selector).innerText()).replaceAll(/\s+/g, " ");

/** Waits until a part of the page says this. */
const shows = (selector: string, wanted: RegExp): Promise<string> =>
  until(`${selector} shows ${wanted}`, async () => {
    const shown = await text(selector);
    if (!wanted.test(shown)) throw new Error(`it shows: ${shown}`);
    return shown;
  });

/** Examines at a button, again if a step has missed its deadline. */
const examination = (button: string): Promise<boolean> =>
  until(`${button} has a result without a missed deadline`, async () => {
    await tab.page.getByRole("button", { name: button }).click();
    await tab.page.locator("#panel-doctor .findings").waitFor({ timeout: 60_000 });
    return !missedDeadline(await text("#panel-doctor"));
  });

const get = async (host: string, times = 1): Promise<void> => {
  for (let i = 0; i < times; i += 1)
    expect((await run(["curl", "-sS", "-o", "/dev/null", `http://${host}/`])).code).toBe(0);
};

stories("the dashboard", () => {
  beforeAll(async () => {
    const inspect = { endpoints: ["api.demo"] };
    ({ cloud, daemon } = await registered({ config: { server, inspect } }));
    const service = web({
      fetch: async () => {
        await Bun.sleep(5 + Math.random() * 40);
        return new Response("x".repeat(40_000 + Math.random() * 300_000));
      },
    });
    for (const name of ["api", "web", "billing", "search", "mail", "auth", "docs", "metrics"])
      await cloud.add(`http://${name}.demo`, service.address);
    await cloud.add("tcp://postgres.demo:5432", service.address);
    await cloud.add("http://gone.demo:8080", "127.0.0.1:1");
    await daemon.becomes("gone.demo", "listening");
    for (const name of ["api", "web", "billing", "search", "auth"]) await get(`${name}.demo`, 3);
    tab = await dashboard();
  });

  test("shows the daemon: phase, endpoints, pool, certificate and polls", async () => {
    await shows(".bar", /^ngrokd serving live .* up /);
    await shows("#tile-endpoints", /^Endpoints 10 all served/);
    await shows("#tile-connections", /Connections 0 15 in all/);
    await shows("#tile-traffic", /B\/s/);
    await shows("#tile-pool", /Pool \d+ ready/);
    await shows("#tile-certificate", /Certificate \d+ days? until \d+ \w+ \d{4}/);
    await shows("#tile-last-poll", /Last poll (now|\d s ago)/);
    expect(await tab.page.locator(".polls").getAttribute("aria-label")).toMatch(/polls?, 0 failed/);
  });

  test("shows each endpoint with its state, its address and its use", async () => {
    const row = tab.page.locator("#endpoints .space .row", { hasText: "api.demo" });
    expect(await row.innerText()).toMatch(/listening\s+api\.demo:80\s+127\.\S+ http/);
    await until("its traffic is drawn", async () => (await row.locator("polyline").count()) === 1);
  });

  test("shows connections with timelines, latencies, and HTTP exchanges", async () => {
    await shows("#panel-connections", /0 open, 15 ended/);
    // Others were dialled, if the pool had no ready one.
    const line = tab.page.locator('#connections .timeline[aria-label^="pool "]').first();
    expect(await line.getAttribute("aria-label")).toMatch(
      /^pool .* m?s, upgrade .* m?s, wait .* m?s, flow/,
    );
    const chart = tab.page.locator("#panel-latency .chart");
    expect(await chart.getAttribute("aria-label")).toMatch(/p50 [\d.]+ m?s, p90 .* p99 /);
    expect(await tab.page.locator("canvas").count()).toBe(2);
    await shows("#panel-exchanges", /200 GET api\.demo ?\//);
  });

  test("shows what happens, as it happens", async () => {
    await get("mail.demo", 2);
    await shows("#panel-connections", /17 ended.*mail\.demo:80/);
    await cloud.add("http://new.demo", "127.0.0.1:1");
    await shows("#endpoints", /new\.demo:80/);
    await shows("#tile-endpoints", /Endpoints 11/);
  });

  test("takes a filter, an order and the keyboard", async () => {
    const { page } = tab;
    await page.keyboard.press("/");
    await page.keyboard.type("bill");
    await shows("#shown", /^1 of 11$/);
    await page.locator("#filter").fill("");
    await page.getByRole("button", { name: "Total" }).click();
    await page.getByRole("button", { name: "Total" }).click();
    const head = page.locator("#endpoints [aria-sort=descending]");
    expect(await head.innerText()).toMatch(/^Total/);
    await page.getByRole("grid", { name: "Endpoints" }).focus();
    await page.keyboard.press("ArrowDown");
    await shows("#detail", /URL http:\/\/.*First byte p50 \/ p90 \/ p99 [\d.]+ m?s/);
    await shows("#panel-connections", /only \w+\.demo:80/);
    await picture(tab, "dashboard-light");
    await page.keyboard.press("Escape");
    expect(await page.locator("#detail").count()).toBe(0);
  });

  test("runs the doctor, and follows the chosen endpoint, at a button", async () => {
    const { page } = tab;
    await examination("Examine everything");
    await shows("#panel-doctor", /Daemon ok .*Ingress ok .*failure gone\.demo:8080: .* → /);
    await page.locator("#panel-doctor").scrollIntoViewIfNeeded();
    await picture(tab, "dashboard-doctor");
    await page.locator("#endpoints .space .row", { hasText: "api.demo" }).click();
    await examination("Why api.demo:80?");
    await shows("#panel-doctor", /Name ok .*Connection ok /);
    await page.locator("#endpoints .space .row", { hasText: "api.demo" }).click();
  });

  test("has a dark look, and fits a narrow window", async () => {
    const dark = await dashboard({ colorScheme: "dark" });
    await dark.page.waitForSelector("#endpoints polyline");
    await dark.page.waitForSelector("canvas");
    await dark.page.waitForSelector(".polls i");
    const ground = await dark.page.evaluate(
      "getComputedStyle(document.documentElement).backgroundColor",
    );
    expect(ground).toBe("rgb(16, 18, 22)");
    await picture(dark, "dashboard-dark");
    const narrow = await dashboard({ width: 390, height: 844 });
    await narrow.page.waitForSelector("#endpoints .space .row");
    const wide = await narrow.page.evaluate("document.documentElement.scrollWidth");
    expect(wide).toBe(390);
    await picture(narrow, "dashboard-narrow");
    expect([...dark.complaints, ...narrow.complaints]).toEqual([]);
  });

  test.each(["light", "dark"] as const)("offends no rule of accessibility: %s", async (look) => {
    const one = await dashboard({ colorScheme: look });
    const { page } = one;
    await page.waitForSelector("#endpoints polyline");
    expect(await inaccessible(one)).toEqual([]);
    await page.locator("#endpoints .space .row", { hasText: "api.demo" }).click();
    await page.getByRole("button", { name: "Why api.demo:80?" }).click();
    await page.waitForSelector(".findings");
    expect(await inaccessible(one)).toEqual([]);
    await page.context().close();
  });

  test("shows an outage with what to do, and its end", async () => {
    await tab.page.evaluate("scrollTo(0, 0)");
    await cloud.break("500");
    await shows("#panel-warnings", /500/);
    await shows("#tile-last-poll", /Last poll/);
    await until("a failed poll", async () => (await tab.page.locator(".polls .bad").count()) > 2);
    await picture(tab, "dashboard-outage");
    expect(await inaccessible(tab)).toEqual([]);
    await cloud.mend();
    await daemon.refresh();
    await until("no warning", async () => {
      const warnings = await tab.page.locator("#panel-warnings").allInnerTexts();
      if (warnings.length > 0) throw new Error(`it shows: ${warnings.join()}`);
      return true;
    });
  });

  test("scrolls through 2,000 endpoints, of which few are drawn", async () => {
    for (let i = 0; i < 2000; i += 20)
      await Promise.all(
        Array.from({ length: 20 }, (_, j) =>
          cloud.add(`http://service-${String(i + j).padStart(4, "0")}.demo`, "127.0.0.1:1"),
        ),
      );
    await shows("#tile-endpoints", /Endpoints 2,011/);
    await shows("#shown", /^2,011$/);
    const { page } = tab;
    await page.getByRole("button", { name: "Endpoint", exact: true }).click();
    const grid = page.getByRole("grid", { name: "Endpoints" });
    expect(await grid.getAttribute("aria-rowcount")).toBe("2012");
    await grid.focus();
    await page.keyboard.press("End");
    await shows("#endpoints", /web\.demo:80/);
    expect(await page.locator("#endpoints .space .row").count()).toBeLessThan(60);
    await page.evaluate(`document.getElementById("endpoints").scrollTop = 1000 * 34`);
    await shows("#endpoints", /service-0993\.demo/);
    await picture(tab, "dashboard-2000");
  });

  test("says so if the daemon is gone, and goes on after its start and a new link", async () => {
    expect(tab.complaints).toEqual([]);
    expect(await daemon.stop()).toBe(0);
    await shows(".bar", /no connection to the daemon: trying again/);
    daemon = await serve();
    await shows(".bar", /this session has ended: run ngrokd dashboard again/);
    expect(await inaccessible(tab)).toEqual([]);
    await until("the new daemon serves", async () => (await daemon.status()).phase === "serving");
    await dashboard({ opener: tab });
    await shows(".bar", /^ngrokd serving live .* up (?:\d+(?:\.\d)? s|1 min(?: \d+ s)?) /);
    await shows("#tile-connections", /Connections 0 0 in all/);
    await get("mail.demo");
    await shows("#tile-connections", /Connections 0 1 in all/);
  });

  test("runs no script but its own, and is in no frame", async () => {
    const { url } = (await ngrokd("dashboard --json")).json;
    const opened = await fetch(url);
    const cookie = opened.headers.get("set-cookie")?.split(";")[0] ?? "";
    const policyOf = async (path: string): Promise<string | null> =>
      (await fetch(new URL(path, url), { headers: { cookie } })).headers.get(
        "content-security-policy",
      );
    const nowhere = "frame-ancestors 'none'; base-uri 'none'; form-action 'none'";
    const own = "script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'";
    expect(await policyOf("/")).toBe(`default-src 'none'; ${own}; ${nowhere}`);
    expect(await policyOf("/dashboard.js")).toBe(`default-src 'none'; ${nowhere}`);
    const { page, complaints } = await dashboard();
    const script = "document.body.append(Object.assign(document.createElement('script'), {";
    await page.evaluate(`${script} textContent: "document.title = 'taken'" }))`);
    await page.evaluate(`${script} src: "data:text/javascript,document.title='taken'" }))`);
    await until("both are refused", () => complaints.length === 2);
    expect({ title: await page.title(), complaints }).toEqual({
      title: "ngrokd",
      complaints: [
        expect.stringContaining("Content Security Policy"),
        expect.stringContaining("Content Security Policy"),
      ],
    });
  });

  test("gives a page of another site or port nothing, in the browser with its cookie", async () => {
    const opened = await dashboard();
    const target = new URL(opened.page.url()).origin;
    const foreign = web({
      fetch: () =>
        new Response("<!doctype html><title>evil</title>", {
          headers: { "content-type": "text/html" },
        }),
    });
    appendFileSync("/etc/hosts", "\n127.0.0.1 evil.example\n");
    const seen: Record<string, object> = {};
    for (const site of ["evil.example", "127.0.0.1", "localhost"]) {
      const page = await opened.page.context().newPage();
      await page.goto(`http://${site}:${foreign.address.split(":")[1]}/`);
      seen[site] = (await page.evaluate(`(${attack})(${JSON.stringify(target)})`)) as object;
      await page.close();
    }
    const nothing = {
      read: "TypeError",
      image: "error",
      change: "TypeError",
      form: "TypeError",
      events: "error",
      socket: "error",
      script: "error",
      frame: "nothing",
    };
    expect(seen).toEqual({ "evil.example": nothing, "127.0.0.1": nothing, localhost: nothing });
    const own = await opened.page.evaluate("fetch('/api/v1/list').then(({ status }) => status)");
    expect(own).toBe(200);
    // A name that leads here by DNS rebinding.
    const rebound = await opened.page.context().newPage();
    await rebound.goto(`http://evil.example:${new URL(target).port}/`);
    expect(await rebound.locator("body").innerText()).toContain("not a name of this server");
  });

  test("is smaller than 150 KB with its script and its style", async () => {
    const folder = `${import.meta.dir}/../../dist/dashboard`;
    const sizes = ["script.txt", "style.txt"].map((name) => Bun.file(`${folder}/${name}`).size);
    expect(sizes[0] ?? 0).toBeGreaterThan(10_000);
    expect(sizes.reduce((sum, size) => sum + size)).toBeLessThan(150_000);
  });
});

stories("the dashboard of several profiles", () => {
  let ours: object;
  const rows = (table: string): Promise<string[]> =>
    tab.page.locator(`#${table} .space .row .name b`).allInnerTexts();

  beforeAll(async () => {
    const service = web({ fetch: () => new Response("x") });
    const [home, work] = await Promise.all([startCloud(), startCloud()]);
    cloud = home;
    const authorities = "/run/authorities";
    mkdirSync(authorities, { recursive: true });
    copyFileSync(home.caFile, `${authorities}/home.crt`);
    copyFileSync(work.caFile, `${authorities}/work.crt`);
    ours = { ...server, ingress_ca: authorities };
    const profiles = {
      work: {
        api: { url: work.apiUrl, key: work.apiKey },
        bound_endpoints: { poll_interval: 1 },
      },
    };
    writeConfig(configFor(home, { server: ours, profiles }));
    daemon = await serve();
    for (const name of ["mine", "house"]) await cloud.add(`http://${name}.demo`, service.address);
    await work.add("http://theirs.demo", service.address);
    await daemon.becomes("house.demo", "listening");
    await daemon.becomes("theirs.demo", "listening");
    for (const name of ["mine", "theirs"]) await get(`${name}.demo`);
    tab = await dashboard();
  });

  test("shows each profile, and the profile of each endpoint and connection", async () => {
    await shows("#panel-profiles", /default serving 2 endpoints .* work serving 1 endpoint /);
    await shows("#endpoints", /theirs\.demo:80 work 127/);
    await shows("#connections", /theirs\.demo:80 work 127.* mine\.demo:80 default 127/);
    expect(await inaccessible(tab)).toEqual([]);
  });

  test("shows only one profile if asked, and all again", async () => {
    const choice = tab.page.getByRole("combobox", { name: "Profile" });
    await choice.selectOption("work");
    await shows("#shown", /^1 of 3$/);
    await shows("#panel-connections", /only work/);
    expect({ endpoints: await rows("endpoints"), connections: await rows("connections") }).toEqual({
      endpoints: ["theirs.demo"],
      connections: ["theirs.demo:80"],
    });
    await picture(tab, "dashboard-profiles");
    await choice.selectOption("all profiles");
    await shows("#shown", /^3$/);
    await tab.page.getByRole("button", { name: "Profile" }).click();
    await shows("#endpoints", /house\.demo.*mine\.demo.*theirs\.demo/);
  });

  test("has neither the column nor the choice with one profile", async () => {
    writeConfig(configFor(cloud, { server: ours }));
    expect(await daemon.reload()).toMatchObject({ ok: true });
    await until("the choice is gone", async () => {
      const selects = await tab.page.getByRole("combobox", { name: "Profile" }).count();
      return selects === 0;
    });
    await shows("#endpoints", /house\.demo:80 127/);
    expect(tab.complaints).toEqual([]);
  });
});
