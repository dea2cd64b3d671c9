import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createEstate } from "../../src/handover/estate.ts";
import { createLeaving, type LeavingDeps } from "../../src/handover/leaving.ts";
import {
  type EstateFacts,
  invitationIn,
  invitationText,
  protocolVersion,
  takeOverCommand,
} from "../../src/handover/protocol.ts";
import { type Heritage, succeed } from "../../src/handover/succeeding.ts";
import { reasonOf } from "../../src/model/error.ts";
import { createMeter } from "../../src/model/meter.ts";
import { createBunNet } from "../../src/net/bun.ts";
import type { Conn } from "../../src/net/types.ts";
import { later } from "../support/conns.ts";
import { crowdedDaemon } from "../support/crowded-daemon.ts";
import { memoryLog } from "../support/memory-log.ts";

const net = createBunNet();
const folder = mkdtempSync(join(tmpdir(), "handover-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let sockets = 0;

const facts: EstateFacts = {
  protocol: protocolVersion,
  version: "1.0.0",
  pid: 7,
  doors: 1,
  keys: [],
  accounts: [{ name: "default", list: "", state: { phase: "serving", reason: "", hint: "" } }],
  meters: {},
  departed: createMeter(),
  strangers: createMeter(),
};

/**
 * An old daemon on a socket of its own, whose program is this function. It gets
 * the invitation's text.
 */
async function leaving(program: (text: string) => unknown, more: Partial<LeavingDeps> = {}) {
  sockets += 1;
  const path = join(folder, `${sockets}.sock`);
  const said: string[] = [];
  const estate = createEstate(net);
  const door = await estate.net.listen({ host: "127.9.9.1", port: 0 }, (conn) => conn.close());
  const { promise: killed, resolve: kill } = Promise.withResolvers<string>();
  const deps: LeavingDeps = {
    net,
    way: "beside",
    socketPath: () => path,
    start(_program, env) {
      void (async () => program(env.NGROKD_HANDOVER ?? ""))();
      return { pid: 99, ended: killed, kill: () => kill("by SIGKILL") };
    },
    hold: async () => ({
      release: () => void said.push("released"),
      leave: () => void said.push("left"),
    }),
    estate: () => ({
      facts: { ...facts, keys: estate.held.map(({ key }) => key) },
      held: estate.held,
    }),
    log: memoryLog(),
    patienceMs: 60_000,
    ...more,
  };
  const side = createLeaving(deps);
  const listener = await net.listen({ path }, async (conn) => {
    const text = new TextDecoder().decode((await conn.read()) ?? undefined);
    const { command, args } = JSON.parse(text);
    await side.takers[command]?.(conn, args);
  });
  return {
    side,
    path,
    said,
    door,
    close() {
      listener.close();
      door.close();
    },
  };
}

const invited = (text: string) => {
  const invitation = invitationIn(text);
  if (invitation === undefined) throw new Error(`no invitation: ${text}`);
  return invitation;
};

describe("a handover", () => {
  test("passes facts and descriptors, and then the traffic until the old side ends", async () => {
    const heir = Promise.withResolvers<Heritage>();
    const reports: unknown[] = [];
    const old = await leaving(async (text) => {
      const heritage = await succeed(net, invited(text));
      const [held] = await heritage.descriptors();
      expect(held?.key).toBe("tcp 127.9.9.1:0");
      const adopted = await net.adopt(held?.fd ?? -1, (conn) => conn.close());
      expect(adopted.address).toEqual(old.door.address);
      await heritage.ready("2.0.0", (report) => reports.push(report));
      adopted.close();
      heir.resolve(heritage);
    });
    const successor = await old.side.upgrade("/bin/next");
    expect(successor).toMatchObject({ pid: 99, version: "2.0.0", program: "/bin/next" });
    expect(await old.side.left).toBe(successor);
    expect(old.said).toEqual(["left"]);
    const heritage = await heir.promise;
    await successor.report({ open: 2, meters: { "a:80": createMeter() } });
    heritage.close();
    await successor.stopped;
    successor.close();
    await heritage.ended;
    expect(reports).toEqual([
      { kind: "traffic", open: 2, meters: { "a:80": createMeter() } },
      { kind: "traffic", open: 0, meters: {} },
    ]);
    old.close();
  });

  test("that the new side gives up leaves the old one in charge, with the reason", async () => {
    const old = await leaving(async (text) => {
      const heritage = await succeed(net, invited(text));
      await heritage.fail(new Error("the configuration is wrong"));
    });
    await expect(old.side.upgrade("/bin/next")).rejects.toThrow(
      'Cannot hand over to "/bin/next": the configuration is wrong; the running daemon goes on',
    );
    expect(old.said).toEqual(["released"]);
    old.close();
  });

  test("that takes too long is ended, and a later one succeeds", async () => {
    let slow = true;
    const old = await leaving(
      async (text) => {
        if (slow) return;
        await (await succeed(net, invited(text))).ready("2.0.0", () => undefined);
      },
      { patienceMs: 100 },
    );
    await expect(old.side.upgrade("/bin/next")).rejects.toThrow("not ready within 0.1 s");
    slow = false;
    expect(old.said).toEqual(["released"]);
    old.close();
  });

  test.each([
    ["says something else", (conn: Conn) => void conn.write(new TextEncoder().encode("what?\n"))],
    ["loses its connection", (conn: Conn) => conn.abort()],
  ])("whose new side %s is over at once", async (_name, fail) => {
    const old = await leaving(
      async (text) => {
        const { socket, token } = invited(text);
        const conn = await net.dial({ path: socket });
        const args = [String(protocolVersion), token];
        const request = `${JSON.stringify({ command: takeOverCommand, args })}\n`;
        await conn.write(new TextEncoder().encode(request));
        await conn.read();
        fail(conn);
      },
      { patienceMs: 60_000 },
    );
    await expect(old.side.upgrade("/bin/next")).rejects.toThrow("it broke the handover off");
    expect(old.said).toEqual(["released"]);
    old.close();
  });

  test.if(process.platform === "linux")(
    "waits for room in the queue of a busy daemon's socket",
    async () => {
      const path = join(folder, "busy.sock");
      await using daemon = await crowdedDaemon(path);
      const invitation = {
        protocol: protocolVersion,
        way: "beside",
        token: "t",
        socket: path,
      } as const;
      const heritage = succeed(net, invitation).catch(reasonOf);
      const descriptors = net.receiveDescriptors(
        path,
        '{"command":"status"}\n',
        AbortSignal.timeout(30_000),
      );
      await later(100);
      daemon.goOn();
      // It answers both, although it has nothing to pass on.
      expect(await heritage).toBe("Cannot understand the running daemon");
      expect(await descriptors).toEqual([]);
    },
    60_000,
  );

  test("is one at a time", async () => {
    const old = await leaving(() => undefined, { patienceMs: 100 });
    const first = old.side.upgrade("/bin/next").catch(() => "failed");
    await expect(old.side.upgrade("/bin/next")).rejects.toThrow("under way already");
    expect(await first).toBe("failed");
    old.close();
  });

  test("of another protocol is refused by either side", async () => {
    const old = await leaving(() => undefined, { patienceMs: 300 });
    const upgrade = old.side.upgrade("/bin/next").catch(() => "failed");
    const token = "0".repeat(64);
    const socket = old.path;
    await expect(succeed(net, { protocol: 2, way: "beside", token, socket })).rejects.toThrow(
      "by protocol 2",
    );
    await expect(
      succeed(net, { protocol: protocolVersion, way: "beside", token, socket }),
    ).rejects.toThrow("to a program that it has started");
    expect(await upgrade).toBe("failed");
    old.close();
  });
});

describe("an invitation", () => {
  test("comes back from its text, whatever the path of the socket", () => {
    const invitation = {
      protocol: 1,
      way: "rehearsal",
      token: "a1".repeat(32),
      socket: "/run/a:b.sock",
    } as const;
    expect(invitationIn(invitationText(invitation))).toEqual(invitation);
  });

  test.each([undefined, "", "1:beside:abc:/run/x", "x:beside:/run/x"])("is none in %p", (text) => {
    expect(invitationIn(text)).toBeUndefined();
  });
});

describe("an estate", () => {
  test("goes on with an inherited socket once, and closes what nobody wants", async () => {
    const first = await net.listen({ host: "127.9.9.2", port: 0 }, (conn) => conn.close());
    const second = await net.listen({ host: "127.9.9.2", port: 0 }, (conn) => conn.close());
    const copies = await Promise.all([first, second].map(({ fd }) => net.heritableCopy(fd ?? -1)));
    const estate = createEstate(net);
    const keyOf = ({ address }: typeof first): string =>
      "host" in address ? `tcp ${address.host}:${address.port}` : "";
    estate.inherit([first, second].map((one, i) => ({ key: keyOf(one), fd: copies[i] ?? -1 })));
    const { address } = first;
    first.close();
    const changes: string[] = [];
    estate.follow(({ kind, key }) => void changes.push(`${kind} ${key}`));
    if (!("host" in address)) throw new Error("no address");
    // A trial takes nothing away.
    (await estate.net.listen(address, () => undefined, { trial: true })).close();
    const adopted = await estate.net.listen(address, (conn) => conn.close());
    expect(adopted.address).toEqual(address);
    expect(estate.unclaimed).toEqual([keyOf(second)]);
    estate.discard();
    adopted.close();
    expect(changes).toEqual([
      `opened ${keyOf(first)}`,
      `closed ${keyOf(second)}`,
      `closed ${keyOf(first)}`,
    ]);
    second.close();
  });
});
