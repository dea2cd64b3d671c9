import { expect, test } from "bun:test";
import { existsSync, lstatSync } from "node:fs";
import { createServer } from "node:net";
import { registered } from "../support/cloud.ts";
import { defaultSocket, ngrokd } from "../support/ngrokd.ts";
import { atEnd, freshMachine, stories } from "../support/story.ts";

stories("the doors of the daemon", () => {
  test("the health server is read-only: no method and no path changes anything", async () => {
    const { daemon } = await registered();
    const { pid, start_time } = await daemon.status();
    for (const path of [
      "health",
      "healthz",
      "ready",
      "readyz",
      "status",
      "metrics",
      "shutdown",
      "_shutdown",
      "reload",
    ]) {
      for (const method of ["POST", "PUT", "PATCH", "DELETE"]) {
        const { status } = await fetch(`http://127.0.0.1:8081/${path}`, { method });
        expect({ method, path, status }).toEqual({ method, path, status: 404 });
      }
    }
    expect(await daemon.status()).toMatchObject({ phase: "serving", pid, start_time });
    expect(await daemon.stop()).toBe(0);
  });

  test("a socket of another program, such as a service manager, is left alone", async () => {
    freshMachine();
    const calls: string[] = [];
    const owner = createServer(
      (socket) =>
        void socket.on("error", () => {}).once("data", (bytes) => calls.push(String(bytes))),
    );
    await new Promise<void>((listening) => owner.listen(defaultSocket, listening));
    atEnd(() => owner.close());
    const { ino } = lstatSync(defaultSocket);
    const { code, err } = await ngrokd("serve");
    expect({ code, err }).toEqual({
      code: 6,
      err: expect.stringContaining(`already running on the control socket "${defaultSocket}"`),
    });
    expect({ exists: existsSync(defaultSocket), ino: lstatSync(defaultSocket).ino }).toEqual({
      exists: true,
      ino,
    });
    expect(calls.every((call) => call.includes('"status"'))).toBe(true);
  });
});
