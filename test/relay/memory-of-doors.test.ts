import { heapStats } from "bun:jsc";
import { afterEach, expect, test } from "bun:test";
import { createPlainGuard } from "../../src/access/guard.ts";
import { createEstate } from "../../src/handover/estate.ts";
import { unlimited } from "../../src/relay/connection-limits.ts";
import { createDoors, type Doors } from "../../src/relay/doors.ts";
import { doorway, echoing } from "../daemon/support.ts";
import { net } from "../support/conns.ts";

let all: Doors[] = [];
afterEach(async () => {
  for (const doors of all) await doors.drain(0, AbortSignal.abort());
  all = [];
});

/** As a daemon has it: with the estate, and the plain guard. */
function fresh(): Doors {
  const deps = echoing();
  const doors = createDoors({
    net: createEstate(net).net,
    forwarding: () => deps,
    limits: () => unlimited,
    guard: createPlainGuard(net),
  });
  all.push(doors);
  return doors;
}

const some = Array.from({ length: 200 }, (_, i) =>
  doorway(`tcp://h${i}.demo:18007`, `127.82.1.${i + 1}`),
);

const objects = (): number => {
  Bun.gc(true);
  return heapStats().objectCount;
};

// It was 89 while functions kept everything that they could see.
test("a door that has had no connection is few objects", async () => {
  // The first ones bring what all share, such as compiled code.
  const [first, ...others] = some;
  await fresh().apply({ open: [first ?? doorway("tcp://h.demo:18007", "127.82.1.1")] }, 0);
  const doors = fresh();
  const before = objects();
  expect(await doors.apply({ open: others }, 0)).toEqual(new Map());
  const each = (objects() - before) / others.length;
  expect({ each, few: each <= 48 }).toEqual({ each, few: true });
});
