/** A listener whose queue of connections is full, as that of a busy daemon. */
import { setTimeout as sleep } from "node:timers/promises";
import { isNgrokdError } from "../model/error.ts";
import type { Conn } from "./types.ts";

/**
 * Runs the dial of a unix socket, and again while the listener's queue is full:
 * so connect(2) waits on a descriptor that blocks. Rejects as the dial does,
 * and if there was no room for {@link longestFullMs}.
 */
export async function dialWithRoom(dial: () => Promise<Conn>): Promise<Conn> {
  const end = performance.now() + longestFullMs;
  for (let looks = 1; ; looks += 1) {
    try {
      return await dial();
    } catch (error) {
      const isOver = performance.now() >= end && looks >= fewestLooks;
      if (!isFullQueue(error) || isOver) throw error;
      await sleep(pauseMs);
    }
  }
}

/**
 * A listener whose queue is full for so long hangs, or is stopped. Shorter than
 * the deadlines of requests, whose errors do not name the queue.
 */
export const longestFullMs = 3000;
/** If this process stood still meanwhile, the time says nothing. */
const fewestLooks = 25;
const pauseMs = 20;

/** Whether a dial failed because the listener's queue is full. */
export const isFullQueue = (error: unknown): boolean =>
  isNgrokdError(error, "network") && error.details.errno === "EAGAIN";
