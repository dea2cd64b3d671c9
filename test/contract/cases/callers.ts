/** The program at the other end of an accepted connection. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import process from "node:process";
import { addressText, type Conn, type Listener } from "../../../src/net/types.ts";
import { type Case, listening, portOf, readAll, soon, textOf, until } from "../kit.ts";

const setpriv = "/usr/bin/setpriv";
/** Linux tells the user; elsewhere only addresses are compared. */
const tells = process.platform === "linux";
const canBeAnother = tells && process.getuid?.() === 0 && existsSync(setpriv);
const stranger = 65_534;

/** Connects as a user of no name, runs `then`, and stays until it is killed. */
function connectAsStranger({ address }: Listener, then: string): () => void {
  assert("host" in address);
  const script = `exec 3<>/dev/tcp/${address.host}/${address.port}; ${then}; exec sleep 60`;
  const child = spawn(setpriv, [
    `--reuid=${stranger}`,
    `--regid=${stranger}`,
    "--clear-groups",
    "/bin/bash",
    "-c",
    script,
  ]);
  return () => void child.kill("SIGKILL");
}

export const callers: Case[] = [
  {
    name: "the program that has connected is known, in IPv4, IPv6 and both on one listener",
    async run(world) {
      for (const [at, host] of [
        ["127.0.0.93", "127.0.0.93"],
        ["127.0.0.93", "::ffff:127.0.0.93"],
        ["::1", "::1"],
        ["::", "127.0.0.1"],
        ["::", "::1"],
      ] as const) {
        const { listener, next } = await listening(world, { host: at, port: 0 });
        const ours = await world.net.dial({ host, port: portOf(listener) });
        const theirs = await next();
        const uid = tells ? process.getuid?.() : undefined;
        assert.deepEqual(
          await world.net.callerOf(theirs),
          { isHere: true, uid },
          `${host} of ${at}`,
        );
        ours.close();
        theirs.close();
        listener.close();
        await soon(Promise.all([ours.closed, theirs.closed]), "closed");
      }
    },
  },
  {
    name: "the user of another process is known, and hundreds at once are not mixed",
    async run(world) {
      if (!canBeAnother) return;
      const { listener, next } = await listening(world, { host: "127.0.0.94", port: 0 });
      const end = connectAsStranger(listener, ":");
      const theirs = await next();
      assert.deepEqual(await world.net.callerOf(theirs), { isHere: true, uid: stranger });
      const pairs: [Conn, Conn][] = [];
      for (let n = 0; n < 200; n += 1)
        pairs.push([await world.net.dial(listener.address), await next()]);
      const all = await Promise.all(
        [theirs, ...pairs.map(([, conn]) => conn)].map(world.net.callerOf),
      );
      assert.deepEqual(
        all.map((caller) => caller.uid),
        [stranger, ...pairs.map(() => 0)],
      );
      for (const conn of [theirs, ...pairs.flat()]) conn.abort();
      end();
      listener.close();
    },
  },
  {
    name: "a program that has closed its socket is nobody or itself, and never root",
    async run(world) {
      if (!canBeAnother) return;
      const { listener, next } = await listening(world, { host: "127.0.0.95", port: 0 });
      const end = connectAsStranger(listener, "echo hello >&3; exec 3<&- 3>&-");
      const theirs = await next();
      assert.equal(textOf(await readAll(theirs)), "hello\n");
      for (const half of ["open", "closed"]) {
        const { isHere, uid } = await world.net.callerOf(theirs);
        assert.equal(isHere, true, half);
        assert(uid === undefined || uid === stranger, `${half}: ${uid}`);
        theirs.closeWrite();
      }
      theirs.close();
      await soon(theirs.closed, "closed");
      await until("the socket is forgotten", async () => {
        const { uid } = await world.net.callerOf(theirs);
        return uid === undefined || uid === stranger;
      });
      end();
      listener.close();
    },
  },
  {
    name: "a unix socket has no caller of this kind",
    async run(world) {
      const path = `${world.folder}/caller.sock`;
      const { listener, next } = await listening(world, { path });
      const ours = await world.net.dial({ path });
      const theirs = await next();
      assert.deepEqual(
        await world.net.callerOf(theirs),
        { isHere: false, uid: undefined },
        addressText(theirs.remote),
      );
      ours.close();
      theirs.close();
      listener.close();
    },
  },
];
