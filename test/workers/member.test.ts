import { describe, expect, test } from "bun:test";
import { silentLog } from "../../src/model/log.ts";
import { createMember } from "../../src/workers/member.ts";
import type { Order, Report } from "../../src/workers/messages.ts";

/** A worker process that only a test can end. */
function fake(pid: number, heard: (report: Report) => void, answers: boolean) {
  const ended = Promise.withResolvers<string>();
  const orders: Order[] = [];
  return {
    pid,
    orders,
    heard,
    ended: ended.promise,
    end: ended.resolve,
    kill: () => ended.resolve("by SIGKILL"),
    send(order: Order) {
      orders.push(order);
      if (answers && "number" in order) heard({ kind: "done", number: order.number, failures: [] });
    },
  };
}

/** A member whose processes are fakes. */
function place({ answers = true, patienceMs = 60_000 } = {}) {
  const processes: ReturnType<typeof fake>[] = [];
  const started: (() => void)[] = [];
  let lost = 0;
  const member = createMember({
    number: 1,
    start(heard) {
      const one = fake(100 + processes.length, heard, answers);
      processes.push(one);
      for (const tell of started.splice(0)) tell();
      return one;
    },
    teach: async (one) => one.tell({ kind: "prepare" }),
    heard: () => undefined,
    lost: () => {
      lost += 1;
    },
    log: silentLog,
    patienceMs,
  });
  return {
    member,
    processes,
    lost: () => lost,
    next: () => new Promise<void>((resolve) => started.push(resolve)),
  };
}

describe("a member", () => {
  test("teaches each process, and starts the next one if it ends", async () => {
    const { member, processes, lost, next } = place();
    await next();
    processes[0]?.heard({ kind: "ready", now: 0 });
    await member.settled(1000);
    expect(processes[0]?.orders.map(({ kind }) => kind)).toContain("prepare");
    const working = member.work({ kind: "leave" });
    await working;
    processes[0]?.end("with exit code 70");
    await next();
    expect([member.restarts, lost(), member.pid]).toEqual([1, 1, 101]);
    member.finish();
    processes[1]?.end("with exit code 0");
    await member.gone;
    expect([processes.length, member.pid]).toEqual([2, 0]);
  });

  test("lets no work wait for a process that has ended", async () => {
    const { member, processes, next } = place({ answers: false });
    await next();
    processes[0]?.heard({ kind: "ready", now: 0 });
    await member.settled(1000);
    const working = member.work({ kind: "leave" });
    member.finish();
    processes[0]?.end("by SIGKILL");
    await working;
    await member.gone;
    expect(processes).toHaveLength(1);
  });

  test("ends a process that does not answer twice", async () => {
    const { member, processes, next } = place({ answers: false, patienceMs: 10 });
    await next();
    processes[0]?.heard({ kind: "ready", now: 0 });
    await next();
    expect(await processes[0]?.ended).toBe("by SIGKILL");
    member.finish();
    processes[1]?.end("with exit code 0");
    await member.gone;
  });
});
