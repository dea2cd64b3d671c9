import { beforeAll, expect, test } from "bun:test";
import { appendFileSync } from "node:fs";
import type { Browser, Page } from "playwright-core";
import { openBrowser } from "../support/browser.ts";
import { type Cloud, startCloud } from "../support/cloud.ts";
import { addressOf, portOf, readyOf } from "../support/doors.ts";
import type { Ran } from "../support/ngrokd.ts";
import { startPostgres } from "../support/postgres.ts";
import { noSshd, type Sshd, startSshd } from "../support/sshd.ts";
import { stories, until } from "../support/story.ts";
import { nobody, type User, userOf } from "../support/user.ts";
import { page, web } from "../support/web.ts";

let cloud: Cloud;
let user: User;

async function oneUser(): Promise<void> {
  cloud = await startCloud();
  user = userOf(cloud);
}

stories(`ssh without root${noSshd === "" ? "" : ` (skipped: ${noSshd})`}`, () => {
  let server: Sshd;
  /** Runs a command on the server, as `ssh HOST COMMAND` does. */
  const ssh = (command: string, stdin = ""): Promise<Ran> => {
    const settings = {
      BatchMode: "yes",
      IdentityFile: server.key,
      User: server.user,
      UserKnownHostsFile: server.knownHosts,
      ProxyCommand: "/run/bin/ngrokd connect %h:%p --stdio",
    };
    const options = Object.entries(settings).flatMap(([key, value]) => ["-o", `${key}=${value}`]);
    return user.run(["ssh", "-F", "none", ...options, "build.internal", command], stdin);
  };

  beforeAll(async () => {
    if (noSshd !== "") return;
    await oneUser();
    server = await startSshd(nobody);
    await cloud.add("tcp://build.internal:22", server.address);
  });

  test.skipIf(noSshd !== "")("logs in on port 22 by connect --stdio", async () => {
    expect(await ssh("id -un; echo from stderr >&2; exit 7")).toEqual(
      expect.objectContaining({ out: "builder\n", err: "from stderr\n", code: 7 }),
    );
  });

  test.skipIf(noSshd !== "")("carries 8 MiB of stdin there and back", async () => {
    const text = "a line of text\n".repeat(560_000);
    const { out, code } = await ssh("cat", text);
    expect({ same: out === text, code }).toEqual({ same: true, code: 0 });
  });
});

stories("psql without root", () => {
  test("asks a PostgreSQL server at a local port of connect", async () => {
    await oneUser();
    const database = await startPostgres(user);
    if (database === undefined) return;
    await cloud.add("tcp://db.demo:5432", database.address);
    const running = user.start("connect db.demo --listen 0 --json");
    const port = portOf(addressOf(await readyOf(running), "db.demo:5432"));
    const server = ["-h", "127.0.0.1", "-p", String(port), "-U", "me"];
    const asked = await user.run(["psql", ...server, "-Atc", "select 40 + 2", "postgres"]);
    expect(asked).toMatchObject({ out: "42\n", err: "", code: 0 });
    await running.stop("SIGINT");
  });
});

stories("a browser with the PAC of connect --pac", () => {
  let browser: Browser;
  let tab: Page;
  let outsidePort: number;
  /** The requests' hosts, as the endpoint's service sees them. */
  const hosts: (string | null)[] = [];

  /** Opens a URL. Returns what the page says, or why there is none. */
  const open = async (url: string): Promise<string> => {
    // An error page may still be on its way into the tab before.
    tab = await browser.newPage();
    try {
      await tab.goto(url);
      return await tab.locator("body").innerText();
    } catch (error) {
      return /net::\w+/.exec(String(error))?.[0] ?? String(error);
    }
  };

  beforeAll(async () => {
    await oneUser();
    const service = web({
      fetch: (request) => {
        hosts.push(request.headers.get("host"));
        return new Response("<title>Hello</title><h1>an endpoint</h1>", {
          headers: { "content-type": "text/html" },
        });
      },
    });
    await cloud.add("http://hello.demo", service.address);
    await cloud.add("http://*.team.demo", page("a team").address);
    outsidePort = portOf(page("outside").address);
    appendFileSync("/etc/hosts", "\n127.0.0.1 other.example\n");
    const running = user.start("connect --socks 0 --http-proxy 0 --pac --json");
    const http = addressOf(await readyOf(running), "http-proxy");
    browser = await openBrowser([`--proxy-pac-url=http://${http}/proxy.pac`]);
  });

  test("shows the page of an endpoint by its own name", async () => {
    expect(await open("http://hello.demo/")).toBe("an endpoint");
    expect({ title: await tab.title(), url: tab.url(), host: hosts[0] }).toEqual({
      title: "Hello",
      url: "http://hello.demo/",
      host: "hello.demo",
    });
    expect(await open("http://a.b.team.demo/")).toBe("a team");
  });

  test("reaches another host without the proxies", async () => {
    expect(await open(`http://other.example:${outsidePort}/`)).toBe("outside");
    expect(await open("http://no.example/")).toMatch(
      /^net::ERR_(?:NAME_NOT_RESOLVED|INTERNET_DISCONNECTED)$/,
    );
  });

  test("shows why an endpoint's other port is refused", async () => {
    expect(await open("http://hello.demo:81/")).toContain('"hello.demo" has the port 80');
  });

  test("goes on while the endpoint's service is away and back", async () => {
    await cloud.break("refuse=ERR_NGROK_3200*1");
    expect(await open("http://hello.demo/")).toContain("ngrokd: ");
    await cloud.mend();
    await until("it is back", async () => (await open("http://hello.demo/")) === "an endpoint");
  });
});
