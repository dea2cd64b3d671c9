import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import {
  createFaults,
  type FaultName,
  faultTable,
  faultText,
  parseFault,
} from "../../src/local-cloud/faults.ts";
import { value } from "./support.ts";

const names = (Object.keys(faultTable) as FaultName[]).filter((name) => name !== "status");

describe("parseFault", () => {
  test("reads names, values and counts", () => {
    expect(value(parseFault("429*3"))).toEqual({ fault: { name: "status", value: 429 }, times: 3 });
    expect(value(parseFault("503=7"))).toEqual({
      fault: { name: "status", value: 503, retryAfterSeconds: 7 },
      times: undefined,
    });
    expect(value(parseFault(" latency=200 "))).toEqual({
      fault: { name: "latency", value: 200 },
      times: undefined,
    });
    expect(value(parseFault("html=404"))).toEqual({
      fault: { name: "html", value: 404 },
      times: undefined,
    });
    expect(value(parseFault("empty"))).toEqual({
      fault: { name: "empty", value: undefined },
      times: undefined,
    });
    expect(value(parseFault("refuse=ERR_NGROK_1 no *really*, no*2"))).toEqual({
      fault: { name: "refuse", value: "ERR_NGROK_1 no *really*, no" },
      times: 2,
    });
  });

  test("uses a default for a missing value", () => {
    for (const name of names)
      expect(value(parseFault(name)).fault.value).toBe(faultTable[name].value);
  });

  test("explains the fault of every other text", () => {
    const wrong = {
      "": "is not written as name",
      "429*0": "is for no request at all",
      "200": 'the status "200" is not 400 to 599',
      "429=soon": "is not a number of seconds",
      status: "written as its number",
      "latency=fast": "takes a number",
      "latency=-1": "takes a number",
      "html=1": "is not 400 to 599",
      "empty=1": "takes no value",
      explode: 'there is no fault "explode"; there are: a status, only, latency',
      toString: "is not written as name", // capitals
      constructor: 'there is no fault "constructor"',
    };
    for (const [text, reason] of Object.entries(wrong)) {
      expect(parseFault(text)).toMatchObject({
        ok: false,
        reason: expect.stringContaining(reason),
      });
    }
  });

  test("reads back the texts of faultText", () => {
    const spec = fc.oneof(
      fc
        .tuple(fc.integer({ min: 400, max: 599 }), fc.option(fc.nat({ max: 9999 })))
        .map(([status, wait]) => `${status}${wait === null ? "" : `=${wait}`}`),
      fc.constantFrom(...names),
      fc.nat({ max: 99_999 }).map((ms) => `latency=${ms}`),
      fc.string().map((text) => `refuse=${text}`),
    );
    const times = fc.option(fc.integer({ min: 1, max: 1000 }), { nil: undefined });
    fc.assert(
      fc.property(spec, times, (text, left) => {
        const first = parseFault(left === undefined ? text : `${text}*${left}`);
        if (!first.ok) return;
        const { fault, times: counted } = first.value;
        expect(parseFault(faultText({ fault, left: counted }))).toEqual(first);
      }),
    );
  });

  test("never throws", () => {
    fc.assert(
      fc.property(fc.string(), (text) => expect(typeof parseFault(text).ok).toBe("boolean")),
    );
  });
});

describe("createFaults", () => {
  test("counts down and forgets, or stays until it is cleared", () => {
    const faults = createFaults();
    faults.set({ name: "html", value: 502 }, 2);
    faults.set({ name: "latency", value: 5 });
    expect(faults.take("html")).toMatchObject({ name: "html" });
    expect(faults.list().map(faultText)).toEqual(["html=502*1", "latency=5"]);
    expect(faults.take("html")).toMatchObject({ name: "html" });
    expect(faults.take("html")).toBeUndefined();
    for (let i = 0; i < 5; i += 1) expect(faults.take("latency")?.value).toBe(5);
    faults.clear("latency");
    expect(faults.take("latency")).toBeUndefined();
  });

  test("returns the one that was set first, and only of the requested kinds", () => {
    const faults = createFaults();
    faults.set({ name: "empty", value: undefined }, 1);
    faults.set({ name: "status", value: 500 }, 1);
    faults.set({ name: "refuse", value: "no" });
    expect(faults.take("status", "html", "empty")?.name).toBe("empty");
    expect(faults.take("status", "html", "empty")?.name).toBe("status");
    expect(faults.take("status", "html", "empty")).toBeUndefined();
    expect(faults.list()).toHaveLength(1);
    faults.clear();
    expect(faults.list()).toEqual([]);
  });

  test("setting a name again replaces it and puts it last", () => {
    const faults = createFaults();
    faults.set({ name: "status", value: 500 }, 1);
    faults.set({ name: "html", value: 502 }, 1);
    faults.set({ name: "status", value: 429 }, 1);
    expect(faults.list().map(faultText)).toEqual(["html=502*1", "429*1"]);
  });
});
