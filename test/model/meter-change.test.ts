import { describe, expect, test } from "bun:test";
import { countError, countRefusal, createMeter, type Meter, time } from "../../src/model/meter.ts";
import { addChange, changeOf, copyOf, isNothing, meterFrom } from "../../src/model/meter-change.ts";

/** A meter after some traffic. */
function used(times: number): Meter {
  const meter = createMeter();
  for (let i = 0; i < times; i += 1) {
    meter.active += 1;
    meter.total += 1;
    meter.bytesUp += 10;
    meter.bytesDown += 100;
    time(meter, "upgrade", 0.25 * i);
    time(meter, "firstByte", 0.5);
    countError(meter, "reset");
    countRefusal(meter, "ERR_NGROK_1");
    meter.lastActivity = 1000 + i;
    meter.lastError = `error ${i}`;
  }
  return meter;
}

describe("a change of a meter", () => {
  test("added to what was before is what is now, as JSON too", () => {
    const [before, now] = [used(2), used(5)];
    const sum = copyOf(before);
    addChange(sum, meterFrom(JSON.parse(JSON.stringify(changeOf(before, now)))));
    expect(sum).toEqual(now);
  });

  test("clears the latest error if a connection has worked in it", () => {
    const meter = { ...used(1), lastError: "old" };
    addChange(meter, { ...createMeter(), bytesUp: 1 });
    expect(meter.lastError).toBe("old");
    const worked = createMeter();
    time(worked, "upgrade", 0.1);
    addChange(meter, worked);
    expect(meter.lastError).toBe("");
  });

  test("may lower the open connections", () => {
    const now = { ...used(3), active: 1 };
    expect(changeOf(used(3), now).active).toBe(-2);
    expect(isNothing(changeOf(used(3), now))).toBe(false);
    expect(isNothing(changeOf(used(3), used(3)))).toBe(true);
  });

  test("is not touched by later traffic", () => {
    const meter = used(1);
    const copy = copyOf(meter);
    time(meter, "upgrade", 1);
    countError(meter, "dial");
    countRefusal(meter, "other");
    expect(copy).toEqual(used(1));
  });

  test("of a program with other kinds of errors keeps those that both have", () => {
    const meter = meterFrom({ ...used(1), errorsBy: { reset: 3, unknown: 4 } as never });
    expect(meter.errorsBy.reset).toBe(3);
    expect("unknown" in meter.errorsBy).toBe(false);
  });
});

describe("a new meter", () => {
  test("shares all that is empty, and traffic of one is not in another", () => {
    const [busy, idle] = [createMeter(), createMeter()];
    const shared = (["refusedBy", "errorsBy", "upgrade", "firstByte"] as const).filter(
      (part) => busy[part] === idle[part],
    );
    expect(shared).toEqual(["refusedBy", "errorsBy", "upgrade", "firstByte"]);
    time(busy, "upgrade", 1);
    time(busy, "firstByte", 1);
    countError(busy, "dial");
    countRefusal(busy, "other");
    addChange(busy, used(2));
    expect(idle).toEqual(createMeter());
    expect(busy).toMatchObject({ errorsBy: { dial: 1, reset: 2 }, refusedBy: { other: 1 } });
  });
});
