import { beforeAll, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Cloud, startCloud } from "../support/cloud.ts";
import { addressOf, portOf, readyOf } from "../support/doors.ts";
import { type Running, run } from "../support/ngrokd.ts";
import { foreignHosts, stories, until } from "../support/story.ts";
import { dial, echo, upstream } from "../support/tcp.ts";
import { type User, userOf } from "../support/user.ts";
import { page, web } from "../support/web.ts";

let cloud: Cloud;
let user: User;

async function oneCloud(): Promise<void> {
  cloud = await startCloud();
  await cloud.add("http://hello.demo", page("hello").address);
  await cloud.add("tcp://echo.demo:7000", (await echo()).address);
  user = userOf(cloud);
}

const operators = async (): Promise<number> => (await cloud.operators()).length;

stories("endpoints for a user without root", () => {
  beforeAll(oneCloud);

  test("connect listens for each endpoint, and carries HTTP and TCP", async () => {
    const running = user.start("connect hello.demo echo.demo --listen 127.0.0.1:8080 --json");
    const ready = await readyOf(running);
    expect(addressOf(ready, "hello.demo:80")).toBe("127.0.0.1:8080");
    expect(addressOf(ready, "echo.demo:7000")).toBe("127.0.0.1:7000");
    expect(await user.run(["curl", "-sS", "http://127.0.0.1:8080/"])).toMatchObject({
      out: "hello",
      err: "",
    });
    expect(await running.stop("SIGINT")).toBe(0);
  });

  test("nothing on the machine has changed but the user's own state folder", async () => {
    const folder = join(user.home, ".local/state/ngrokd");
    expect(readFileSync("/etc/hosts", "utf8")).toBe(foreignHosts);
    expect(existsSync("/etc/ngrokd")).toBe(false);
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    expect(statSync(join(folder, "tls.key")).mode & 0o777).toBe(0o600);
    expect(readdirSync(folder)).toContain("operator_id");
  });

  test("the next run uses the same operator, and two at once register one", async () => {
    const [before] = await cloud.operators();
    const other = userOf(cloud);
    const both = [user.start("connect echo.demo --json"), user.start("connect echo.demo --json")];
    const all = await Promise.all(both.map(readyOf));
    expect(all.map(({ identity }) => identity)).toEqual([
      `the operator ${before?.id}`,
      `the operator ${before?.id}`,
    ]);
    // The second one finds the port in use, and takes a free one.
    expect(new Set(all.map((ready) => addressOf(ready, "echo.demo:7000"))).size).toBe(2);
    await Promise.all(both.map((running) => running.stop("SIGINT")));
    const fresh = [
      other.start("connect echo.demo --json"),
      other.start("connect echo.demo --json"),
    ];
    const [one, two] = await Promise.all(fresh.map(readyOf));
    expect(one?.identity).toBe(two?.identity as string);
    await Promise.all(fresh.map((running) => running.stop("SIGINT")));
    expect(await operators()).toBe(2);
  });

  test("a profile has an identity of its own below the user's", async () => {
    const config = JSON.parse(readFileSync(join(user.home, ".config/ngrokd/config.yml"), "utf8"));
    const api = { key: "a-key-for-work", url: cloud.apiUrl };
    const profiles = { work: { api } };
    await cloud.key("a-key-for-work", "work");
    const file = join(user.home, "profiles.yml");
    writeFileSync(file, JSON.stringify({ ...config, profiles }));
    const unknown = await user.ngrokd(`connect no.demo --config ${file} --profile no`);
    expect(unknown.err).toContain('There is no profile "no"');
    const known = await user.ngrokd(`connect no.demo --config ${file} --profile work`);
    expect(known.err).toContain('There is no endpoint "no.demo"');
    expect(existsSync(join(user.home, ".local/state/ngrokd/profiles/work/operator_id"))).toBe(true);
  });

  test("a program of another user is reset", async () => {
    const running = user.start("connect echo.demo --listen 0 --json");
    const port = portOf(addressOf(await readyOf(running), "echo.demo:7000"));
    const said = `exec 3<>/dev/tcp/127.0.0.1/${port} && echo hello >&3 && timeout 60 head -c 5 <&3`;
    const as = (uid: number) =>
      run(["setpriv", `--reuid=${uid}`, `--regid=${uid}`, "--clear-groups", "bash", "-c", said]);
    expect((await as(5003)).out).toBe("");
    expect((await as(65_534)).out).toBe("hello");
    expect((await as(0)).out).toBe("hello");
    await running.stop("SIGINT");
    const wide = user.start("connect echo.demo --listen 0.0.0.0:0 --json");
    const address = addressOf(await readyOf(wide), "echo.demo:7000");
    expect(wide.log()).toContain(`warning: ${address} is open to other users and machines`);
    await wide.stop("SIGINT");
  });

  test("an endpoint that there is not is named, with the ones that there are", async () => {
    const wrong = await user.ngrokd("connect helo.demo --json");
    expect(wrong.code).toBe(1);
    expect(wrong.json.error).toMatchObject({
      code: "not-found",
      message: 'There is no endpoint "helo.demo"',
      hint: "did you mean hello.demo?",
    });
    const port = await user.ngrokd("connect echo.demo:7001 --json");
    expect(port.json.error).toMatchObject({ hint: "its ports: 7000" });
  });

  test("root keeps nothing in the home of another user, and reads nothing there", async () => {
    const env = { HOME: user.home, NGROK_API_KEY: cloud.apiKey };
    for (const flags of [[], ["--ephemeral"]]) {
      const { code, err } = await run(["/run/bin/ngrokd", "connect", "echo.demo", ...flags], {
        env,
      });
      expect({ code, err }).toMatchObject({
        code: 5,
        err: expect.stringContaining("belongs to another user (uid 65534)"),
      });
      expect(err).toContain("hint:  run this without sudo, or set XDG_STATE_HOME");
    }
    const state = { HOME: user.home, XDG_STATE_HOME: "/run/story/state" };
    const own = await run(["/run/bin/ngrokd", "connect", "echo.demo"], { env: state });
    expect(own.err).toContain("There is no API key");
  });

  test("without a key it says where to put one", async () => {
    const { code, json } = await run(["/run/bin/ngrokd", "connect", "hello.demo", "--json"], {
      as: "nobody",
      env: { HOME: userOf(cloud).home, XDG_CONFIG_HOME: "/run/tmp" },
    });
    expect({ code, hint: json.error.hint }).toEqual({
      code: 2,
      hint: "set NGROK_API_KEY, or write `api.key` into ~/.config/ngrokd/config.yml",
    });
  });
});

stories("stdin and stdout as a connection", () => {
  beforeAll(oneCloud);

  test("--stdio carries both directions to their ends", async () => {
    const text = "one, two, three\n".repeat(100_000);
    const { out, err, code } = await user.ngrokd("connect echo.demo --stdio", text);
    expect({ same: out === text, err, code }).toEqual({ same: true, err: "", code: 0 });
  });

  test("ssh reaches a server on port 22 by ProxyCommand", async () => {
    const heard: Buffer[] = [];
    const server = await upstream((socket) => {
      socket.write("SSH-2.0-story_1.0\r\n");
      socket.on("data", (bytes: Buffer) => {
        heard.push(bytes);
        // The client's key exchange has come: that is all that this server can.
        if (Buffer.concat(heard).includes("diffie-hellman")) socket.end();
      });
    });
    await cloud.add("tcp://build.internal:22", server.address);
    const command = "ProxyCommand=/run/bin/ngrokd connect %h:%p --stdio";
    const options = ["-v", "-F", "none", "-o", "BatchMode=yes", "-o", command];
    const { err } = await user.run(["ssh", ...options, "me@build.internal", "true"]);
    expect(err).toContain("remote software version story_1.0");
    expect(Buffer.concat(heard).toString("latin1")).toMatch(/^SSH-2.0-OpenSSH/);
  });

  test("a refusal is an error on stderr, and nothing on stdout", async () => {
    await cloud.break("refuse=ERR_NGROK_3200*1");
    const { out, err, code } = await user.ngrokd("connect echo.demo --stdio");
    expect({ out, code }).toEqual({ out: "", code: 1 });
    expect(err).toContain("error: The ingress refused echo.demo:7000");
    await cloud.mend();
  });
});

stories("an operator for one run", () => {
  beforeAll(oneCloud);
  const runs = (): string[] => readdirSync(join(user.home, ".local/state/ngrokd/runs"));

  test("after a normal end it is gone, and so is its folder", async () => {
    const { out, code } = await user.ngrokd("connect echo.demo --stdio --ephemeral", "hello");
    expect({ out, code }).toEqual({ out: "hello", code: 0 });
    expect(await operators()).toBe(0);
    expect(runs()).toEqual([]);
  });

  test("after Ctrl-C it is gone", async () => {
    const running = user.start("connect hello.demo --ephemeral --listen 0 --json");
    const ready = await readyOf(running);
    expect(await operators()).toBe(1);
    const url = `http://${addressOf(ready, "hello.demo:80")}/`;
    expect((await user.run(["curl", "-sS", url])).out).toBe("hello");
    expect(await running.stop("SIGINT")).toBe(0);
    expect(await operators()).toBe(0);
    expect(runs()).toEqual([]);
  });

  test("after Ctrl-C in the middle of its registration it is gone", async () => {
    await cloud.break("latency=1500");
    const running = user.start("connect hello.demo --ephemeral --listen 0 --json");
    await until("it has begun", () => runs().length === 1);
    await until("its key is saved", () =>
      existsSync(join(user.home, ".local/state/ngrokd/runs", runs()[0] ?? "", "tls.key")),
    );
    running.kill("SIGINT");
    await cloud.mend();
    await running.exited;
    await until("no operator is left", async () => (await operators()) === 0);
    expect(runs()).toEqual([]);
  });

  test("after kill -9 the next run deletes it, and no living one", async () => {
    const killed = user.start("connect hello.demo --ephemeral --listen 0 --json");
    await readyOf(killed);
    const living = user.start("connect hello.demo --ephemeral --listen 0 --json");
    const ready = await readyOf(living);
    await killed.stop("SIGKILL");
    expect(await operators()).toBe(2);
    const { out } = await user.ngrokd("connect echo.demo --stdio --ephemeral", "hello");
    expect(out).toBe("hello");
    expect((await cloud.operators()).map(({ id }) => `the operator ${id}`)).toEqual([
      ready.identity,
    ]);
    await living.stop("SIGINT");
    expect(await operators()).toBe(0);
    expect(runs()).toEqual([]);
  });

  test("the key of another account leaves it for a run with its own", async () => {
    const killed = user.start("connect hello.demo --ephemeral --listen 0 --json");
    await readyOf(killed);
    await killed.stop("SIGKILL");
    await cloud.key("another-account-key", "another");
    const env = { HOME: user.home, NGROK_API_KEY: "another-account-key" };
    await run(["/run/bin/ngrokd", "connect", "no.demo", "--ephemeral"], { as: "nobody", env });
    expect(runs()).toHaveLength(1);
    await user.ngrokd("connect echo.demo --stdio --ephemeral", "hello");
    expect(runs()).toEqual([]);
    expect(await operators()).toBe(0);
  });
});

stories("proxies for all endpoints", () => {
  let socks: string;
  let http: string;
  let outside: string;
  let running: Running;

  beforeAll(async () => {
    await oneCloud();
    await cloud.add("http://*.team.demo", page("a team").address);
    outside = page("outside").address;
    running = user.start("connect --socks 0 --http-proxy 0 --pac --json");
    const ready = await readyOf(running);
    socks = addressOf(ready, "socks");
    http = addressOf(ready, "http-proxy");
  });

  const curl = (...words: string[]) => user.run(["curl", "-sS", "--max-time", "60", ...words]);

  test("curl --socks5-hostname reaches endpoints and names below wildcards", async () => {
    expect((await curl("--socks5-hostname", socks, "http://hello.demo/")).out).toBe("hello");
    expect((await curl("--socks5-hostname", socks, "http://a.b.team.demo/")).out).toBe("a team");
  });

  test("curl -x reaches them too, by CONNECT and in absolute form", async () => {
    expect((await curl("-x", `http://${http}`, "http://hello.demo/")).out).toBe("hello");
    expect((await curl("-p", "-x", `http://${http}`, "http://hello.demo/")).out).toBe("hello");
    const two = ["http://hello.demo/", "http://x.team.demo/", "http://hello.demo/"];
    expect((await curl("-x", `http://${http}`, ...two)).out).toBe("helloa teamhello");
  });

  test("a request in absolute form arrives as the origin expects it", async () => {
    const seen: string[] = [];
    const { address } = web({
      async fetch(request) {
        seen.push(`${request.method} ${request.url} ${await request.text()}`);
        seen.push(`${request.headers.get("proxy-connection")}`);
        return new Response("done");
      },
    });
    await cloud.add("http://form.demo:8080", address);
    await until("the new endpoint is there", async () => {
      const body = "x".repeat(100_000);
      const { out } = await curl("-x", `http://${http}`, "-d", body, "http://form.demo:8080/p?q=1");
      return out === "done";
    });
    expect(seen).toEqual([`POST http://form.demo:8080/p?q=1 ${"x".repeat(100_000)}`, "null"]);
  });

  test("other hosts and other ports are refused, and curl says so", async () => {
    const refused = await curl("--socks5-hostname", socks, `http://${outside}/`);
    expect(refused.err).toMatch(/Can.t complete SOCKS5 connection/);
    const tunnel = await curl("-p", "-x", `http://${http}`, `http://${outside}/`);
    expect(tunnel.err).toContain("403");
    const plain = await curl("-x", `http://${http}`, `http://${outside}/`);
    expect(plain.out).toContain("other hosts need the flag --direct");
    const port = await curl("-x", `http://${http}`, "http://hello.demo:81/");
    expect(port.out).toContain('The endpoint "hello.demo" has the port 80');
  });

  test("an endpoint whose service is down is a 502, and a SOCKS error", async () => {
    await cloud.add("http://down.demo", "127.0.0.1:9");
    await until("the new endpoint is there", async () => {
      const { out } = await curl("-x", `http://${http}`, "http://down.demo/");
      return out.startsWith("ngrokd: ") && !out.includes("--direct");
    });
    const tunnel = await curl("-p", "-x", `http://${http}`, "http://down.demo/");
    expect(tunnel.err).toContain("502");
    expect((await curl("--socks5-hostname", socks, "http://down.demo/")).code).toBe(97);
  });

  test("--direct lets other hosts through", async () => {
    const open = user.start("connect --socks 0 --http-proxy 0 --direct --json");
    const ready = await readyOf(open);
    const [socksToo, httpToo] = [addressOf(ready, "socks"), addressOf(ready, "http-proxy")];
    expect((await curl("--socks5-hostname", socksToo, `http://${outside}/`)).out).toBe("outside");
    expect((await curl("-p", "-x", `http://${httpToo}`, `http://${outside}/`)).out).toBe("outside");
    expect((await curl("-x", `http://${httpToo}`, `http://${outside}/`)).out).toBe("outside");
    expect((await curl("-x", `http://${httpToo}`, "http://hello.demo/")).out).toBe("hello");
    await open.stop("SIGINT");
  });

  test("/proxy.pac leads the endpoints' hosts to the proxies, and no other", async () => {
    const { out } = await curl(`http://${http}/proxy.pac`);
    const find = new Function(`${out}; return FindProxyForURL;`)();
    const ours = `PROXY ${http}; SOCKS5 ${socks}`;
    expect(find("http://hello.demo/", "hello.demo")).toBe(ours);
    expect(find("http://x.team.demo/", "X.team.demo")).toBe(ours);
    expect(find("http://example.com/", "example.com")).toBe("DIRECT");
    const rebound = await curl("-H", "Host: evil.example", `http://${http}/proxy.pac`);
    expect(rebound.out).not.toContain("FindProxyForURL");
  });

  test("git clones over the HTTP proxy and over SOCKS", async () => {
    const bare = join(user.home, "repository.git");
    const script = `set -e; git init -q -b main work; cd work; git config user.email a@b.c
      git config user.name a; echo text >file; git add file; git commit -qm first; cd ..
      git clone -q --bare work ${bare}; git -C ${bare} update-server-info`;
    expect((await user.run(["sh", "-c", script])).err).toBe("");
    const { address } = web({
      fetch(request) {
        const path = join(bare, new URL(request.url).pathname.replace("/repository.git/", ""));
        return existsSync(path) && statSync(path).isFile()
          ? new Response(Bun.file(path))
          : new Response("", { status: 404 });
      },
    });
    await cloud.add("http://git.demo", address);
    for (const proxy of [`http://${http}`, `socks5h://${socks}`]) {
      const clone = join(user.home, proxy.slice(0, 5));
      await until(`git clones through ${proxy}`, async () => {
        const { code } = await user.run([
          "git",
          "-c",
          `http.proxy=${proxy}`,
          "clone",
          "-q",
          "http://git.demo/repository.git",
          clone,
        ]);
        return code === 0;
      });
      expect(readFileSync(join(clone, "file"), "utf8")).toBe("text\n");
    }
  });

  test("what is no SOCKS5 and no request is refused, and the others go on", async () => {
    const [host, port] = ["127.0.0.1", portOf(socks)];
    const old = await dial(host, port);
    await old.write(Uint8Array.of(4, 1, 0, 80, 127, 0, 0, 1, 0));
    expect(await old.left).toBe("end");
    const login = await dial(host, port);
    await login.write(Uint8Array.of(5, 1, 2));
    expect(Buffer.from(await login.read(2), "latin1")).toEqual(Buffer.from([5, 0xff]));
    const bind = await dial(host, port);
    await bind.write(Uint8Array.of(5, 1, 0, 5, 2, 0, 1, 127, 0, 0, 1, 0, 80));
    expect((await bind.rest()).charCodeAt(3)).toBe(7);
    const smuggled = await dial(host, portOf(http));
    await smuggled.write("GET http://hello.demo/ HTTP/1.1\r\nHost: other.demo\r\n\r\n");
    expect(await smuggled.rest()).toContain("400 Bad Request");
    expect((await curl("--socks5-hostname", socks, "http://hello.demo/")).out).toBe("hello");
    for (const peer of [old, login, bind, smuggled]) peer.reset();
  });
});
