import { describe, expect, test } from "bun:test";
import { once } from "node:events";
import {
  chmod,
  link,
  lstat,
  mkdir,
  readdir,
  readFile,
  stat,
  symlink,
  unlink,
  writeFile,
} from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import { isAlive } from "../../src/control/alive.ts";
import { askDaemon } from "../../src/control/client.ts";
import {
  adoptControlServer,
  type ControlOptions,
  startControlServer,
} from "../../src/control/server.ts";
import { isNgrokdError, NgrokdError } from "../../src/model/error.ts";
import type { Conn, Net } from "../../src/net/types.ts";
import { temporaryFolder } from "../machine/support.ts";
import { bytes, ending, later, net, read } from "../support/conns.ts";
import { crowdedDaemon } from "../support/crowded-daemon.ts";
import { memoryLog } from "../support/memory-log.ts";
import { anyText } from "../support/texts.ts";

describe("a request on the control socket", () => {
  test.each([
    ["as the Go client sends it: no newline, its half open", ['{"command":"status"}']],
    ["with a newline", ['{"command":"status"}\n']],
    [
      "in pieces, cut inside a character",
      [
        '{"command":"sta',
        'tus","args":["',
        bytes("ü").subarray(0, 1),
        bytes("ü").subarray(1),
        '"]}',
      ],
    ],
    [
      "with null for arguments, as Go writes an empty list, and fields of its own",
      ['{"command":"status","args":null,"id":7}'],
    ],
    ["pretty-printed", ['{\n  "command": "status"\n}\n']],
  ] as const)("is answered %s", async (_name, pieces) => {
    await using server = await started();
    const conn = await server.dial();
    for (const piece of pieces) {
      await conn.write(typeof piece === "string" ? bytes(piece) : piece);
      await later(2);
    }
    expect(await read(conn)).toBe('{"success":true,"data":{"said":"status"}}\n');
  });

  test("is answered if the client then closes its half, as `nc -N` does", async () => {
    await using server = await started();
    expect(await server.say('{"command":"status"}')).toBe(
      '{"success":true,"data":{"said":"status"}}\n',
    );
  });

  test("gets its arguments to the handler", async () => {
    const handle: ControlOptions["handle"] = async ({ command, args }) => [command, args];
    await using server = await started({ handle });
    expect(
      await askDaemon(net, server.path, { command: "set-api-key", args: ["a", "ü\n"] }),
    ).toEqual(["set-api-key", ["a", "ü\n"]]);
  });
});

test("a reply is read up to a limit, since another program may be there", async () => {
  await using server = await started({ handle: async () => ({ said: "x".repeat(100_000) }) });
  const ask = (maxBytes: number) => askDaemon(net, server.path, { command: "list" }, { maxBytes });
  expect(await ask(200_000)).toMatchObject({ said: expect.any(String) });
  expect(await failure(ask(100_000))).toMatchObject({
    code: "protocol",
    message: "The program on the control socket answered with more than 100000 bytes",
  });
});

describe("a bad request on the control socket", () => {
  const notJson = 'The request is not JSON; send one object such as {"command":"status"}';
  const notARequest = 'The request is not {"command": "…", "args": ["…"]}';
  test.each([
    ["text", "status\n", notJson],
    ["an HTTP request", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", notJson],
    ["binary", "\x16\x03\x01\x02\0\n", notJson],
    ["half a request", '{"command":"status"', notJson],
    ["two requests", '{"command":"status"}\n{"command":"list"}\n', notJson],
    ["another value", '"status"\n', notARequest],
    ["null", "null\n", notARequest],
    ["a list", '[{"command":"status"}]\n', notARequest],
    ["no command", "{}\n", notARequest],
    ["a command that is no text", '{"command":1}\n', notARequest],
    ["a long command", `{"command":"${"x".repeat(65)}"}\n`, notARequest],
    ["arguments that are no texts", '{"command":"status","args":[1]}\n', notARequest],
    [
      "many arguments",
      `{"command":"status","args":${JSON.stringify(Array(17).fill(""))}}\n`,
      notARequest,
    ],
    ["deep nesting", `${"[".repeat(30_000)}\n`, notJson],
    ["1 MB", `{"command":"${"x".repeat(1e6)}"}\n`, "The request is larger than 64 KiB"],
  ])("that is %s gets an error and harms no other client", async (_name, text, error) => {
    await using server = await started();
    expect(JSON.parse(await server.say(text))).toEqual({ success: false, error, code: "protocol" });
    expect(await askDaemon(net, server.path, { command: "list" })).toEqual({ said: "list" });
  });

  test("of exactly 64 KiB is read, one byte more is not", async () => {
    await using server = await started();
    const fit = (size: number): string => `{"command":"status","pad":"${"x".repeat(size - 29)}"}`;
    expect(fit(65536).length).toBe(65536);
    expect(await server.say(fit(65536))).toStartWith('{"success":true');
    expect(await server.say(fit(65537))).toStartWith(
      '{"success":false,"error":"The request is larger',
    );
  });

  test("that is empty is closed without an answer", async () => {
    await using server = await started();
    expect({ empty: await server.say(""), blank: await server.say(" \n") }).toEqual({
      empty: "",
      blank: "",
    });
  });

  test("that is random bytes gets one line of JSON or nothing, and harms no other", async () => {
    await using server = await started();
    const garbage = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      fc.json().map(bytes),
      anyText.map(bytes),
    );
    await fc.assert(
      fc.asyncProperty(garbage, async (what) => {
        const answer = await server.say(what);
        if (answer !== "") expect(typeof JSON.parse(answer).success).toBe("boolean");
        if (answer !== "") expect(answer.indexOf("\n")).toBe(answer.length - 1);
      }),
    );
    expect(await askDaemon(net, server.path, { command: "status" })).toEqual({ said: "status" });
  });

  test("that fails gets the error's code and hint; our own fault is internal", async () => {
    const handle: ControlOptions["handle"] = async ({ command }) => {
      throw command === "ours"
        ? new TypeError("x is\nundefined")
        : new NgrokdError("unauthorized", "ngrok refused", { hint: "make another" });
    };
    await using server = await started({ handle });
    expect(JSON.parse(await server.say('{"command":"theirs"}'))).toEqual({
      success: false,
      error: "ngrok refused",
      code: "unauthorized",
      hint: "make another",
    });
    expect(JSON.parse(await server.say('{"command":"ours"}'))).toEqual({
      success: false,
      error: "x is undefined",
      code: "internal",
    });
    const error = await failure(askDaemon(net, server.path, { command: "theirs" }));
    expect({ code: error.code, message: error.message, hint: error.hint }).toEqual({
      code: "unauthorized",
      message: "ngrok refused",
      hint: "make another",
    });
    expect((await failure(askDaemon(net, server.path, { command: "ours" }))).code).toBe("refused");
  });
});

test("a long list is whole, and other work goes on while it is written", async () => {
  const items = Array.from({ length: 5001 }, (_, i) => ({ id: `ep_${i}`, reason: "ü" }));
  let turns = 0;
  let spin: () => void = () =>
    setImmediate(() => {
      turns += 1;
      spin();
    });
  const turnsAt: number[] = [];
  const watched = items.map((item) => ({
    ...item,
    toJSON() {
      turnsAt.push(turns);
      return item;
    },
  }));
  await using server = await started({ handle: async () => watched });
  spin();
  expect(await askDaemon(net, server.path, { command: "list" })).toEqual(items);
  spin = () => undefined;
  expect(new Set(turnsAt).size).toBe(26);
});

test("sentences for people have no character that moves a cursor or turns the text", async () => {
  const bad = "a\u001b[2J\u009b2J\u202eb\nc";
  const handle: ControlOptions["handle"] = async ({ command }) => {
    if (command === "refresh-cert") return bad;
    throw new NgrokdError("api", bad, { hint: bad });
  };
  await using server = await started({ handle });
  const shown = "a\\u001b[2J\\u009b2J\\u202eb\nc";
  expect(JSON.parse(await server.say('{"command":"refresh-cert"}'))).toEqual({
    success: true,
    data: shown,
  });
  expect(JSON.parse(await server.say('{"command":"refresh"}'))).toEqual({
    success: false,
    error: shown,
    code: "api",
    hint: shown,
  });
});

describe("a client of the control socket", () => {
  test("that sends too slowly is dropped, and no other", async () => {
    const deadlinesMs = { request: 60, reply: 600_000 };
    await using server = await started({ deadlinesMs });
    const slow = await server.dial();
    await slow.write(bytes('{"command":'));
    const silent = await server.dial();
    // A unix socket has no RST. So this checks that it ends without a reply.
    expect(await Promise.all([slow, silent].map((conn) => read(conn).catch(() => "")))).toEqual([
      "",
      "",
    ]);
    deadlinesMs.request = 60_000;
    expect(await askDaemon(net, server.path, { command: "status" })).toEqual({ said: "status" });
  });

  test("that rests gives its place to newer ones, and one that is served keeps it", async () => {
    const release = Promise.withResolvers<void>();
    const handle: ControlOptions["handle"] = async ({ command }) => {
      if (command === "slow") await release.promise;
      return command;
    };
    await using server = await started({ handle, deadlinesMs: { request: 60_000, reply: 60_000 } });
    const slow = await server.dial();
    await slow.write(bytes('{"command":"slow"}'));
    const idle: Conn[] = [];
    for (let i = 0; i < 150; i += 1) {
      const conn = await server.dial();
      await conn.write(bytes("{"));
      idle.push(conn);
    }
    expect(await askDaemon(net, server.path, { command: "quick" })).toBe("quick");
    // 64 places: the slow one's, and those of the last 63.
    const left = await Promise.all(
      idle.map(async (conn) => await Promise.race([ending(conn), later(50).then(() => "open")])),
    );
    expect(left.filter((state) => state === "open").length).toBeWithin(60, 64);
    expect({ first: left[0] === "open", last: left.at(-1) === "open" }).toEqual({
      first: false,
      last: true,
    });
    release.resolve();
    expect(await read(slow)).toBe('{"success":true,"data":"slow"}\n');
    for (const conn of idle) conn.abort();
  });

  test("gets an error if running requests have all places", async () => {
    const release = Promise.withResolvers<void>();
    let running = 0;
    await using server = await started({
      handle: async () => {
        running += 1;
        return await release.promise.then(() => "done");
      },
    });
    const busy = Array.from({ length: 64 }, () =>
      askDaemon(net, server.path, { command: "refresh" }),
    );
    while (running < 64) await later(5);
    const error = await failure(askDaemon(net, server.path, { command: "status" }));
    expect(error.message).toBe("The daemon works on 64 requests; try again in a minute");
    release.resolve();
    expect(new Set(await Promise.all(busy))).toEqual(new Set(["done"]));
  });

  test("that does not take its reply is dropped", async () => {
    await using server = await started({
      deadlinesMs: { request: 5000, reply: 60 },
      handle: async () => "x".repeat(8 * 1024 * 1024),
    });
    const conn = await server.dial();
    await conn.write(bytes('{"command":"list"}'));
    for (let waited = 0; server.log.lines.length === 0 && waited < 500; waited += 1)
      await later(20);
    expect(server.log.lines.join()).toMatch(/^debug A client of the control socket went away: /);
    expect((await read(conn).catch(() => "")).length).toBeLessThan(8 * 1024 * 1024);
  });

  test("that reads slowly, but reads, gets all of a large reply", async () => {
    await using server = await started({ handle: async () => "x".repeat(4 * 1024 * 1024) });
    const conn = await server.dial();
    await conn.write(bytes('{"command":"list"}'));
    await later(30);
    expect((await read(conn)).length).toBe(4 * 1024 * 1024 + '{"success":true,"data":""}\n'.length);
  });

  test("that leaves before its answer harms no other", async () => {
    const release = Promise.withResolvers<void>();
    const asked = Promise.withResolvers<void>();
    const handle: ControlOptions["handle"] = async ({ command }) => {
      if (command !== "slow") return "quick";
      asked.resolve();
      await release.promise;
      return "late";
    };
    await using server = await started({ handle });
    const conn = await server.dial();
    await conn.write(bytes('{"command":"slow"}'));
    await asked.promise;
    conn.abort();
    expect(await askDaemon(net, server.path, { command: "status" })).toBe("quick");
    release.resolve();
    await later(5);
    expect(await askDaemon(net, server.path, { command: "status" })).toBe("quick");
  });
});

test("a socket that was open to every user is not, if it is inherited for the group", async () => {
  await using folder = await temporaryFolder();
  const asked: string[] = [];
  const strange = { ...net, userOf: async () => ({ uid: 12_345, groups: [12_345] }) };
  const options = {
    net: strange,
    path: join(folder.path, "ngrokd.sock"),
    group: "",
    log: memoryLog(),
    handle: async (_: unknown, { rights }: { readonly rights: string }) => void asked.push(rights),
  };
  const before = await startControlServer({ ...options, readers: "all" });
  const copy = await net.heritableCopy(before.fd ?? -1);
  const after = await adoptControlServer(options, copy ?? -1, "a daemon");
  before.leave();
  expect(((await lstat(options.path)).mode & 0o777).toString(8)).toBe("660");
  await askDaemon(net, options.path, { command: "status" });
  expect(asked).toEqual(["read"]);
  await after.close();
});

test("a socket that was its group's stays so at a handover, and the log says it", async () => {
  await using folder = await temporaryFolder();
  const log = memoryLog();
  const options = {
    net: { ...net, userOf: async () => ({ uid: 0, groups: [0] }) },
    path: join(folder.path, "ngrokd.sock"),
    group: "",
    log,
    handle: async () => "said",
  };
  const before = await startControlServer(options);
  const copy = await net.heritableCopy(before.fd ?? -1);
  const after = await adoptControlServer({ ...options, readers: "all" }, copy ?? -1, "a daemon");
  before.leave();
  expect(((await lstat(options.path)).mode & 0o777).toString(8)).toBe("660");
  expect(log.lines.join("\n")).toContain("`server.socket_read: all` has no effect yet");
  await after.close();
});

describe("startControlServer", () => {
  test("lets every user ask if it is told so, and knows its own user", async () => {
    const asked: string[] = [];
    const handle: ControlOptions["handle"] = async (_request, { rights }) =>
      void asked.push(rights);
    await using server = await started({ readers: "all", handle });
    expect(((await lstat(server.path)).mode & 0o777).toString(8)).toBe("666");
    await askDaemon(net, server.path, { command: "status" });
    expect(asked).toEqual(["all"]);
  });

  test("stays its group's if the system does not report the user of a connection", async () => {
    const blind = { ...net, userOf: async () => undefined };
    const asked: string[] = [];
    const handle: ControlOptions["handle"] = async (_request, { rights }) =>
      void asked.push(rights);
    await using server = await started({ net: blind, readers: "all", handle });
    expect(((await lstat(server.path)).mode & 0o777).toString(8)).toBe("660");
    await askDaemon(net, server.path, { command: "status" });
    expect(asked).toEqual(["all"]);
    expect(server.log.lines.filter((line) => line.startsWith("warn"))).toHaveLength(1);
  });

  test("answers a few strangers at once, and others without delay", async () => {
    const strange = { ...net, userOf: async () => ({ uid: 12_345, groups: [12_345] }) };
    await using server = await started({ net: strange, readers: "all" });
    const idle = await Promise.all(Array.from({ length: 20 }, () => server.dial()));
    await later(50);
    expect(JSON.parse(await server.say('{"command":"status"}'))).toEqual({
      success: false,
      error: "Too many other users ask the daemon at the moment",
      code: "refused",
    });
    for (const conn of idle) conn.close();
    await later(50);
    expect(await server.say('{"command":"status"}')).toContain('"success":true');
  });

  test("keeps the place of its group's client, however many strangers come", async () => {
    const self = { uid: process.getuid?.() ?? 0, groups: [] };
    const users = [self, self];
    const mixed = { ...net, userOf: async () => users.shift() ?? { uid: 12_345, groups: [] } };
    await using server = await started({
      net: mixed,
      readers: "all",
      deadlinesMs: { request: 60_000, reply: 60_000 },
    });
    const ours = await server.dial();
    await ours.write(bytes('{"command":'));
    await later(50);
    expect(users).toEqual([]);
    const strangers = await Promise.all(Array.from({ length: 150 }, () => server.dial()));
    await later(50);
    await ours.write(bytes('"refresh"}'));
    expect(await read(ours)).toBe('{"success":true,"data":{"said":"refresh"}}\n');
    for (const conn of strangers) conn.close();
  });

  test("leaves one socket of mode 0660 in its folder, and removes it at the end", async () => {
    await using folder = await temporaryFolder();
    const server = await started({ path: join(folder.path, "ngrokd.sock") });
    expect(await readdir(folder.path)).toEqual(["ngrokd.sock"]);
    const info = await stat(server.path);
    expect({ isSocket: info.isSocket(), mode: (info.mode & 0o7777).toString(8) }).toEqual({
      isSocket: true,
      mode: "660",
    });
    await server.stop();
    expect(await readdir(folder.path)).toEqual([]);
  });

  test.skipIf(process.getuid?.() !== 0)(
    "gives it to the group, if there is one of this name",
    async () => {
      const [, gid = ""] = /^daemon:[^:]*:(\d+):/m.exec(await readFile("/etc/group", "utf8")) ?? [];
      await using ours = await started({ group: "daemon" });
      expect(String((await stat(ours.path)).gid)).toBe(gid);
      await using none = await started({ group: "no-such-group" });
      expect({ gid: (await stat(none.path)).gid, lines: none.log.lines }).toEqual({
        gid: process.getgid?.() ?? 0,
        lines: [],
      });
    },
  );

  test("takes over the socket of a dead daemon, and logs that", async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, "s");
    await cutShort(path);
    const server = await started({ path });
    expect(server.log.lines).toEqual([
      `info Took over the control socket "${path}" of a daemon that has ended`,
    ]);
    expect(await askDaemon(net, path, { command: "status" })).toEqual({ said: "status" });
    expect(await readdir(folder.path)).toEqual(["s"]);
    await server.stop();
  });

  test("opens its own if the other daemon removes its socket at that moment", async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, "s");
    const other = await started({ path });
    const closing: typeof net.dial = async (...words) => {
      await other.stop();
      return await net.dial(...words);
    };
    const server = await started({ path, net: { ...net, dial: closing } });
    expect(server.log.lines).toEqual([]);
    expect(await askDaemon(net, path, { command: "status" })).toEqual({ said: "status" });
    await server.stop();
  });
});

describe("startControlServer on a path that is in use", () => {
  test("refuses if another daemon lives, names its pid, and leaves it alone", async () => {
    await using first = await started({ handle: async () => ({ pid: 4711, registered: true }) });
    const error = await failure(started({ path: first.path }));
    expect({ code: error.code, details: error.details }).toEqual({
      code: "already-running",
      details: { pid: 4711 },
    });
    expect(error.message).toBe(
      `Another daemon (pid 4711) is already running on the control socket "${first.path}"`,
    );
    expect(await askDaemon(net, first.path, { command: "status" })).toMatchObject({ pid: 4711 });
    expect(await readdir(join(first.path, ".."))).toEqual(["ngrokd.sock"]);
  });

  test("refuses if the Go program's daemon runs, which does not report its pid", async () => {
    await using first = await started({ handle: async () => ({ registered: true }) });
    expect((await failure(started({ path: first.path }))).message).toBe(
      `Another daemon is already running on the control socket "${first.path}"`,
    );
  });

  test("never touches a file that is not a socket", async () => {
    await using folder = await temporaryFolder();
    const at = (name: string): string => join(folder.path, name);
    await writeFile(at("file"), "mine");
    await mkdir(at("folder"));
    await symlink(at("nowhere"), at("dangling"));
    for (const name of ["file", "folder", "dangling"]) {
      const error = await failure(started({ path: at(name) }));
      expect({ code: error.code, message: error.message }).toEqual({
        code: "address-in-use",
        message:
          `Cannot open the control socket "${at(name)}": ` +
          "something that is not a socket has this name",
      });
    }
    expect((await readdir(folder.path)).sort()).toEqual(["dangling", "file", "folder"]);
    expect(await readFile(at("file"), "utf8")).toBe("mine");
  });

  test("names the fault of an impossible path", async () => {
    await using folder = await temporaryFolder();
    const missing = await failure(started({ path: join(folder.path, "no/such/s") }));
    expect({ code: missing.code, hint: missing.hint }).toEqual({
      code: "state",
      hint: "does its folder exist? `server.socket_path` or --socket names another path",
    });
    expect(
      (await failure(started({ path: join(folder.path, "x".repeat(100), "s") }))).message,
    ).toMatch(/the path is too long/);
  });

  test.each([
    ["is free", async () => undefined],
    ["has a dead socket", stale],
    ["has a dead socket whose takeover was cut short", cutShort],
  ])("lets exactly one of ten win if the path %s", async (_name, prepare) => {
    for (let round = 0; round < 8; round += 1) {
      await using folder = await temporaryFolder();
      const path = join(folder.path, "s");
      await prepare(path);
      const start = async (pid: number) => {
        await later(10 * Math.random());
        return await started({ path, handle: async () => ({ pid }) });
      };
      const results = await Promise.allSettled(Array.from({ length: 10 }, (_, i) => start(i)));
      const winners = results.flatMap((result, i) =>
        result.status === "fulfilled" ? [{ i, server: result.value }] : [],
      );
      const reasons = results.flatMap((result) =>
        result.status === "rejected" ? [result.reason.code] : [],
      );
      expect({ winners: winners.length, reasons: [...new Set(reasons)] }).toEqual({
        winners: 1,
        reasons: ["already-running"],
      });
      const [winner] = winners;
      expect(await askDaemon(net, path, { command: "status" })).toEqual({ pid: winner?.i });
      expect(await readdir(folder.path)).toEqual(["s"]);
      await winner?.server.stop();
      expect(await readdir(folder.path)).toEqual([]);
    }
  });

  test("does not remove another daemon's socket when it ends", async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, "s");
    const first = await started({ path });
    // The Go program unlinks any file at its path.
    await unlink(path);
    const second = await started({ path });
    await first.stop();
    expect(await askDaemon(net, path, { command: "status" })).toEqual({ said: "status" });
    await second.stop();
  });
});

describe.if(process.platform === "linux")(
  "a daemon that is stopped, and more clients wait for it than fit",
  () => {
    test("is alive by every name of its socket, and is not taken over, until it dies", async () => {
      await using folder = await temporaryFolder();
      const path = join(folder.path, "s");
      await using daemon = await crowdedDaemon(path);
      const turn = join(folder.path, "t.turn");
      await mkdir(turn);
      await link(path, join(turn, "0badcafe"));
      expect({
        socket: await isAlive(net, path),
        turn: await isAlive(net, join(turn, "0badcafe")),
      }).toEqual({ socket: true, turn: true });
      const error = await failure(askDaemon(net, path, { command: "status" }));
      expect({ code: error.code, message: error.message }).toEqual({
        code: "timeout",
        message: `The daemon on "${path}" accepts no connection: its queue has been full for 3 s`,
      });
      const refused = await failure(started({ path }));
      expect({ code: refused.code, message: refused.message }).toEqual({
        code: "already-running",
        message:
          `Another daemon is already running on the control socket "${path}", ` +
          "and does not answer",
      });
      expect((await readdir(folder.path)).sort()).toEqual(["s", "t.turn"]);

      await daemon.kill();
      expect({
        socket: await isAlive(net, path),
        turn: await isAlive(net, join(turn, "0badcafe")),
      }).toEqual({ socket: false, turn: false });
      expect((await failure(askDaemon(net, path, { command: "status" }))).code).toBe("not-running");
      const server = await started({ path });
      expect(server.log.lines).toEqual([
        `info Took over the control socket "${path}" of a daemon that has ended`,
      ]);
      await server.stop();
    }, 60_000);

    test("answers each client that waits for room, once it goes on", async () => {
      await using folder = await temporaryFolder();
      const path = join(folder.path, "s");
      await using daemon = await crowdedDaemon(path);
      const asked = Promise.all(
        Array.from({ length: 20 }, () => askDaemon(net, path, { command: "status" })),
      );
      await later(100);
      daemon.goOn();
      expect(await asked).toEqual(Array.from({ length: 20 }, () => ({ pid: daemon.pid })));
    }, 60_000);

    test("is not waited for longer than the request may take", async () => {
      await using folder = await temporaryFolder();
      const path = join(folder.path, "s");
      await using _ = await crowdedDaemon(path);
      const error = await failure(askDaemon(net, path, { command: "status" }, { timeoutMs: 100 }));
      expect(error.message).toBe(`No answer from the daemon on "${path}" within 0.1 s`);
    }, 60_000);
  },
);

describe("isAlive", () => {
  test("looks again after a timeout, since the system answers at once", async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, "stale");
    await stale(path);
    let looks = 0;
    const late: Net = {
      ...net,
      async dial(target, options) {
        looks += 1;
        if (looks === 1) await once(options?.signal as AbortSignal, "abort");
        return await net.dial(target, options);
      },
    };
    expect({ alive: await isAlive(late, path), looks }).toEqual({ alive: false, looks: 2 });
  });
});

describe("askDaemon", () => {
  test.each(["missing", "stale"])(
    "says that no daemon runs if the socket is %s, and how to start one",
    async (name) => {
      await using folder = await temporaryFolder();
      const path = join(folder.path, "stale");
      await stale(path);
      const error = await failure(askDaemon(net, join(folder.path, name), { command: "status" }));
      expect({ code: error.code, message: error.message }).toEqual({
        code: "not-running",
        message: `No daemon answers on the control socket "${join(folder.path, name)}"`,
      });
      expect(error.hint).toBe(
        "start it with `sudo ngrokd service start` or `sudo ngrokd serve`, " +
          "or name its socket with --socket or NGROKD_SOCKET",
      );
      expect(await isAlive(net, join(folder.path, name))).toBe(false);
    },
  );

  test.each([
    ["nothing", "", "aborted", /closed the connection without an answer/],
    ["no JSON", "hello\n", "protocol", /is not JSON/],
    ["half a reply", '{"success":tr', "protocol", /is not JSON/],
    ["no reply", '{"ok":true}\n', "protocol", /is not a reply/],
    ["a Go program's error", '{"success":false,"error":"no key"}\n', "refused", /^no key$/],
    [
      "a code that we do not know",
      '{"success":false,"error":"no","code":"toString"}\n',
      "refused",
      /^no$/,
    ],
  ])("makes an error of %s", async (_name, answer, code, message) => {
    await using daemon = await impostor(async (conn) => {
      await conn.read();
      if (answer !== "") await conn.write(bytes(answer));
      conn.close();
    });
    const error = await failure(askDaemon(net, daemon.path, { command: "status" }));
    expect(error.code as string).toBe(code);
    expect(error.message).toMatch(message);
  });

  test("accepts a success without data, as the Go program may send it", async () => {
    await using daemon = await impostor(async (conn) => {
      await conn.read();
      await conn.write(bytes('{"success":true}\n'));
      conn.close();
    });
    expect(await askDaemon(net, daemon.path, { command: "status" })).toBeUndefined();
  });

  test("gives up at its deadline, and when its caller does", async () => {
    const seen: Promise<string>[] = [];
    await using daemon = await impostor((conn) => void seen.push(ending(conn)));
    const late = await failure(
      askDaemon(net, daemon.path, { command: "status" }, { timeoutMs: 40 }),
    );
    expect({ code: late.code, message: late.message }).toEqual({
      code: "timeout",
      message: `No answer from the daemon on "${daemon.path}" within 0.04 s`,
    });
    while (seen.length < 1) await later(5);
    const stop = new AbortController();
    const { signal } = stop;
    const given = failure(askDaemon(net, daemon.path, { command: "status" }, { signal }));
    while (seen.length < 2) await later(5);
    stop.abort(new DOMException("too late", "TimeoutError"));
    expect((await given).name).toBe("TimeoutError");
    // Both connections were closed as soon as the listener had them.
    expect((await Promise.all(seen)).length).toBe(2);
  });

  test("names the group if the socket may not be used", async () => {
    await using daemon = await impostor(() => undefined);
    await chmod(daemon.path, 0);
    // Root may use every socket, so this runs as another user meanwhile.
    const user = process.geteuid?.() ?? 0;
    if (user === 0) process.seteuid?.(65534);
    const error = await failure(askDaemon(net, daemon.path, { command: "status" })).finally(() =>
      process.seteuid?.(user),
    );
    expect({ code: error.code, hint: error.hint }).toEqual({
      code: "permission",
      hint: expect.stringMatching(
        /^use sudo, or join the group "ngrokd": `sudo ngrokd service install --group-add [a-z]+`, and log in again$/,
      ),
    });
  });
});

/**
 * A control server that replies with the request. By default it has its own
 * path.
 */
async function started(options: Partial<ControlOptions> = {}) {
  const folder = options.path === undefined ? await temporaryFolder() : undefined;
  const path = options.path ?? join(folder?.path ?? "", "ngrokd.sock");
  const log = memoryLog();
  const server = await startControlServer({
    net,
    group: "",
    log,
    handle: async ({ command }) => ({ said: command }),
    ...options,
    path,
  });
  const stop = async (): Promise<void> => {
    await server.close();
    await folder?.[Symbol.asyncDispose]();
  };
  const dial = (): Promise<Conn> => net.dial({ path });
  return {
    path,
    log,
    dial,
    stop,
    /** Sends one request and closes our half. Returns the whole reply. */
    async say(request: string | Uint8Array): Promise<string> {
      const conn = await dial();
      await conn.write(typeof request === "string" ? bytes(request) : request);
      conn.closeWrite();
      const answer = await read(conn);
      conn.close();
      return answer;
    },
    [Symbol.asyncDispose]: stop,
  };
}

/** A program on a socket that is not a daemon. */
async function impostor(onConn: (conn: Conn) => Promise<void> | void) {
  const folder = await temporaryFolder();
  const path = join(folder.path, "s");
  const listener = await net.listen({ path }, onConn);
  return {
    path,
    async [Symbol.asyncDispose]() {
      listener.close();
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** A dead socket: no process listens on it. */
async function stale(path: string): Promise<void> {
  const listener = await net.listen({ path: `${path}.live` }, () => undefined);
  await link(`${path}.live`, path);
  listener.close();
  expect((await lstat(path)).isSocket()).toBe(true);
}

/** The state after a kill -9 in the middle of a takeover. */
async function cutShort(path: string): Promise<void> {
  await stale(path);
  await mkdir(`${path}.turn`);
  await stale(join(`${path}.turn`, "0badcafe"));
}

async function failure(work: Promise<unknown>): Promise<NgrokdError> {
  const error = await work.then(
    () => new Error("it worked"),
    (error: unknown) => error,
  );
  if (!isNgrokdError(error) && (error as Error).name !== "TimeoutError") throw error;
  return error as NgrokdError;
}
