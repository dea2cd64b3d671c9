import { expect, test } from "bun:test";
import { NgrokdError } from "../../src/model/error.ts";
import { dialWithRoom, longestFullMs } from "../../src/net/full-queue.ts";
import type { Conn } from "../../src/net/types.ts";

test("a full queue is looked at again if this process stood still meanwhile", async () => {
  let looks = 0;
  const conn = {} as Conn;
  const dial = async (): Promise<Conn> => {
    looks += 1;
    if (looks === 1) Bun.sleepSync(longestFullMs + 100);
    if (looks === 4) return conn;
    throw new NgrokdError("network", "full", { details: { errno: "EAGAIN" } });
  };
  expect(await dialWithRoom(dial)).toBe(conn);
});
