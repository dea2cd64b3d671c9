import { beforeAll, expect, test } from "bun:test";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Cloud, startCloud } from "../support/cloud.ts";
import { type Ran, run } from "../support/ngrokd.ts";
import { startPostgres } from "../support/postgres.ts";
import { layOverUsrBin } from "../support/stand-ins.ts";
import { foreignHosts, stories, until } from "../support/story.ts";
import { echo, upstream } from "../support/tcp.ts";
import { onTerminal } from "../support/terminal.ts";
import { nobody, type User, userOf } from "../support/user.ts";
import { page } from "../support/web.ts";

let cloud: Cloud;
let user: User;
let outside: string;

async function oneCloud(): Promise<void> {
  cloud = await startCloud();
  await cloud.add("http://hello.demo", page("hello").address);
  await cloud.add("tcp://echo.demo:7000", (await echo()).address);
  await cloud.add("http://*.team.demo", page("a team").address);
  outside = page("outside").address;
  user = userOf(cloud);
}

/** Runs a command inside, with flags of `ngrokd exec` before it. */
const exec = (command: readonly string[], flags: readonly string[] = []): Promise<Ran> =>
  user.ngrokd(["exec", ...flags, "--", ...command]);
const shell = (script: string, ...flags: string[]) => exec(["bash", "-c", script], flags);

/** A program in C or Go, built once. */
async function built(name: string, source: string, build: readonly string[]): Promise<string> {
  const folder = "/run/tmp/programs";
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  writeFileSync(join(folder, name), source);
  const program = join(folder, name.replace(/\..*$/, ""));
  const env = { CGO_ENABLED: "0", GOCACHE: "/run/tmp/go-cache", GO111MODULE: "off", HOME: folder };
  const { code, err } = await run([...build, "-o", program, join(folder, name)], { env });
  expect({ code, err }).toMatchObject({ code: 0 });
  return program;
}

stories("a command with names and ports of its own", () => {
  beforeAll(oneCloud);

  test("curl reaches endpoints by name, at their own ports", async () => {
    expect(await exec(["curl", "-sS", "http://hello.demo/"])).toMatchObject({
      out: "hello",
      err: "",
      code: 0,
    });
    const said = "exec 3<>/dev/tcp/echo.demo/7000; echo hello >&3; head -c 5 <&3";
    expect((await shell(said)).out).toBe("hello");
  });

  test("it runs as the user, without rights, and sees a hosts file of its own", async () => {
    const { out } = await shell("id -u; grep CapEff /proc/self/status; cat /etc/hosts");
    const [uid, rights, ...hosts] = out.split("\n");
    expect({ uid, rights }).toEqual({ uid: `${nobody}`, rights: "CapEff:\t0000000000000000" });
    expect(hosts.join("\n")).toBe(`127.1.0.1\techo.demo\n127.1.0.2\thello.demo\n${foreignHosts}`);
  });

  test("nothing on the machine has changed, and nothing is left", async () => {
    expect(readFileSync("/etc/hosts", "utf8")).toBe(foreignHosts);
    expect(readdirSync("/run/tmp").filter((name) => name.startsWith("ngrokd-exec"))).toEqual([]);
    const { out } = await run(["ss", "-Hltn"]);
    expect(out).not.toContain("127.1.0.");
  });

  test("Node reaches them", async () => {
    const script = `fetch("http://hello.demo/").then((r) => r.text()).then(console.log)`;
    expect((await exec(["node", "-e", script])).out).toBe("hello\n");
  });

  test("a Go program, which has a resolver of its own, reaches them", async () => {
    const source = `package main
import ("fmt"; "io"; "net"; "os")
func main() {
	conn, err := net.Dial("tcp", os.Args[1])
	if err != nil { fmt.Println(err); os.Exit(1) }
	conn.Write([]byte("from Go"))
	conn.(*net.TCPConn).CloseWrite()
	io.Copy(os.Stdout, conn)
}`;
    const program = await built("dial.go", source, ["go", "build"]);
    expect((await exec([program, "echo.demo:7000"])).out).toBe("from Go");
  });

  test("a program with musl reaches them", async () => {
    const source = `#include <netdb.h>
#include <stdio.h>
#include <unistd.h>
int main(int n, char **words) {
  struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
  if (getaddrinfo(words[1], words[2], &hints, &found)) return 3;
  int s = socket(found->ai_family, SOCK_STREAM, 0);
  if (connect(s, found->ai_addr, found->ai_addrlen)) return 4;
  char text[9] = "";
  write(s, "musl", 4);
  shutdown(s, SHUT_WR);
  for (int got = 0, k; got < 8 && (k = read(s, text + got, 8 - got)) > 0; got += k);
  puts(text);
}`;
    const program = await built("dial.c", source, ["musl-gcc", "-static"]);
    expect(await exec([program, "echo.demo", "7000"])).toMatchObject({ out: "musl\n", code: 0 });
    // A name that there is not must not keep it for long.
    expect((await exec([program, "no.example", "7000"])).code).toBe(3);
  });

  test("psql asks a PostgreSQL server by the endpoint's name", async () => {
    const database = await startPostgres(user);
    if (database === undefined) return;
    await cloud.add("tcp://db.demo:5432", database.address);
    const asked = await exec([
      "psql",
      "-h",
      "db.demo",
      "-U",
      "me",
      "-Atc",
      "select 40 + 2",
      "postgres",
    ]);
    expect(asked).toMatchObject({ out: "42\n", err: "", code: 0 });
  });

  test("a reset and a half-close reach the command as they are", async () => {
    const server = await upstream((socket) => {
      socket.once("data", (bytes: Buffer) => {
        if (bytes.toString() === "reset\n") socket.resetAndDestroy();
        else socket.once("end", () => socket.end("after the end"));
      });
    });
    await cloud.add("tcp://ends.demo:7001", server.address);
    const script = (word: string) => `
      const socket = require("net").connect({ host: "ends.demo", port: 7001, allowHalfOpen: true });
      socket.on("error", (error) => console.log(error.code));
      socket.on("data", (bytes) => console.log(bytes.toString()));
      ${word === "reset" ? 'socket.write("reset\\n")' : 'socket.write("x\\n"); setTimeout(() => socket.end(), 200)'}`;
    expect((await exec(["node", "-e", script("reset")])).out).toBe("ECONNRESET\n");
    expect((await exec(["node", "-e", script("end")])).out).toBe("after the end\n");
  });

  test("a name below a wildcard has an address from its first question on", async () => {
    const direct = (...names: string[]) =>
      exec(["curl", "-sS", ...names.map((name) => `http://${name}.team.demo/`)], ["--net", "none"]);
    expect(await direct("x", "a.b", "x")).toMatchObject({ out: "a teama teama team", err: "" });
    const { out } = await shell("getent hosts x.team.demo; getent hosts team.demo || echo none");
    expect(out).toBe("127.2.0.1       x.team.demo\nnone\n");
    // As a program with a resolver of its own asks.
    const script = `require("dns").resolve4("y.team.demo", (e, found) => console.log(e, found))`;
    expect((await exec(["node", "-e", script])).out).toBe("null [ '127.2.0.1' ]\n");
    const proxied = await shell("curl -sS --noproxy '' http://z.team.demo/");
    expect(proxied.out).toBe("a team");
  });

  test("other hosts are reached by the proxies, and not at all with --net none", async () => {
    const byHttp = await exec(["curl", "-sS", "--noproxy", "hello.demo", `http://${outside}/`]);
    expect(byHttp.out).toBe("outside");
    const bySocks = await shell(`curl -sS -x "$all_proxy" --noproxy '' http://${outside}/`);
    expect(bySocks.out).toBe("outside");
    const none = await shell(`env | grep -ci proxy; curl -sS http://${outside}/`, "--net", "none");
    expect({ out: none.out, code: none.code }).toEqual({ out: "0\n", code: 7 });
    expect((await exec(["curl", "-sS", "http://hello.demo/"], ["--net", "none"])).out).toBe(
      "hello",
    );
  });

  test("stdin, the exit code, the environment and the words are the command's own", async () => {
    const script = 'cat; echo "$1 $NODE_OPTIONS $SSL_CERT_FILE"; exit 7';
    const { out, code } = await run(
      ["/run/bin/ngrokd", "exec", "--", "bash", "-c", script, "bash", "--help"],
      {
        as: "nobody",
        stdin: "from stdin\n",
        env: { ...user.env, NODE_OPTIONS: "--no-warnings", SSL_CERT_FILE: "/no/file" },
      },
    );
    expect({ out, code }).toEqual({ out: "from stdin\n--help --no-warnings /no/file\n", code: 7 });
    const { out: open } = await shell("ls /proc/self/fd | wc -l; env | grep -c NGROKD_");
    expect(open).toBe("4\n0\n");
  });

  test.each(["SIGTERM", "SIGINT", "SIGUSR1"] as const)("%s reaches it", async (signal) => {
    const running = user.start([
      "exec",
      "--",
      "bash",
      "-c",
      `trap 'echo heard; exit 9' ${signal}; echo ready; while :; do sleep 0.05; done`,
    ]);
    await until("the command runs", () => running.out().includes("ready"));
    running.kill(signal);
    expect(await running.exited).toBe(9);
    expect(running.out()).toBe("ready\nheard\n");
  });

  test("Ctrl-C on a terminal reaches it once, and its exit code counts", async () => {
    const script =
      "trap 'echo heard; sleep 0.3; exit 9' INT; echo ready; while :; do sleep 0.05; done";
    const config = join(user.home, ".config/ngrokd/config.yml");
    const command = ["/run/bin/ngrokd", "exec", "--config", config, "--", "bash", "-c", script];
    const { text, code } = await onTerminal(command, {
      env: { XDG_STATE_HOME: "/run/story/state" },
      type: ["ready", "\x03"],
    });
    expect({ heard: text.match(/heard/g)?.length, code }).toEqual({ heard: 1, code: 9 });
  });

  test("a signal that ends it is the exit code, and an unknown command is 127", async () => {
    expect((await shell("kill -KILL $$")).code).toBe(137);
    expect(await exec(["no-such-command"])).toMatchObject({
      code: 127,
      err: 'error: There is no command "no-such-command"\n',
    });
    expect((await user.ngrokd("exec curl")).code).toBe(2);
  });

  test("with --ephemeral no operator is left", async () => {
    const before = (await cloud.operators()).length;
    const seen = await exec(["curl", "-sS", "http://hello.demo/"], ["--ephemeral"]);
    expect(seen.out).toBe("hello");
    expect((await cloud.operators()).length).toBe(before);
  });

  test("root has it too, and root's own files stay as they are", async () => {
    const config = join(user.home, ".config/ngrokd/config.yml");
    const { out } = await run(
      ["/run/bin/ngrokd", "exec", "--config", config, "--", "curl", "-sS", "http://hello.demo/"],
      { env: { XDG_STATE_HOME: "/run/story/state" } },
    );
    expect(out).toBe("hello");
    expect(readFileSync("/etc/hosts", "utf8")).toBe(foreignHosts);
  });
});

stories("a machine that lets users make no namespaces", () => {
  beforeAll(async () => {
    await oneCloud();
    layOverUsrBin({ unshare: "echo 'unshare: Operation not permitted' >&2\nexit 1\n" });
  });

  test("it is said so, and the command gets the proxy variables", async () => {
    const { out, err, code } = await exec(["curl", "-sS", "http://hello.demo/"]);
    expect({ out, code }).toEqual({ out: "hello", code: 0 });
    expect(err).toContain(
      "This machine lets users make no namespaces (unshare: Operation not permitted)",
    );
    expect(err).toContain('"curl" gets proxy variables instead, as with --proxy');
  });

  test("with --proxy there is no warning", async () => {
    const seen = await exec(["curl", "-sS", "http://hello.demo/"], ["--proxy"]);
    expect(seen).toMatchObject({ out: "hello", err: "", code: 0 });
    const socks = await shell('curl -sS -x "$all_proxy" http://hello.demo/', "--proxy");
    expect(socks.out).toBe("hello");
  });
});
