import { describe, expect, test } from "bun:test";
import { census } from "../../src/cloud/census.ts";
import { operatorOf } from "../../src/cloud/wire.ts";
import { hours, issue, rootCa } from "../support/pki.ts";

const ca = await rootCa("Some CA");
const fresh = (await issue(ca, "a", { notAfter: hours(2) })).cert;
const expired = (await issue(ca, "b", { notBefore: hours(-9), notAfter: hours(-2) })).cert;

function operator(
  id: string,
  {
    metadata,
    description = "",
    cert = fresh,
    day = "01",
  }: { metadata?: unknown; description?: string; cert?: string; day?: string } = {},
) {
  const found = operatorOf({
    id,
    created_at: `2026-01-${day}T00:00:00Z`,
    description,
    metadata:
      typeof metadata === "string"
        ? metadata
        : JSON.stringify(metadata ?? { "owned-by": "ngrokd", hostname: "elsewhere" }),
    binding: { cert: { cert } },
  });
  if (found === undefined) throw new Error("no operator");
  return found;
}

const kinds = (
  operators: Parameters<typeof census>[0],
  here: { operatorId: string | undefined } = { operatorId: "mine" },
) =>
  census(operators, { hostname: "here", ...here }, new Date()).map(
    ({ id, kind }) => `${id}: ${kind}`,
  );

test("leaves out operators of other programs, whatever the metadata is", () => {
  const foreign = [
    "",
    "null",
    "[]",
    "5",
    "not json",
    '"ngrokd"',
    { "owned-by": "a cluster" },
    { "owned-by": 5 },
    { hostname: "here" },
    { type: "sdk" },
    { type: "forward-proxy" },
  ];
  expect(kinds(foreign.map((metadata, i) => operator(`k8sop_${i}`, { metadata })))).toEqual([]);
});

test("distinguishes this machine's, expired, same-name and other operators", () => {
  const here = { "owned-by": "ngrokd", hostname: "here" };
  expect(
    kinds([
      operator("mine", { metadata: here, cert: expired, day: "01" }),
      operator("left", { metadata: here, day: "02" }),
      operator("dead", { metadata: here, cert: expired, day: "03" }),
      operator("alive", { day: "04" }),
      operator("nameless", { metadata: { "owned-by": "ngrokd" }, cert: "", day: "05" }),
    ]),
  ).toEqual([
    "nameless: other",
    "alive: other",
    "dead: expired",
    "left: same name",
    "mine: this machine",
  ]);
});

test("calls none this machine's without an identity here", () => {
  expect(kinds([operator("mine")], { operatorId: undefined })).toEqual(["mine: other"]);
});

describe("operators of other programs for the same job", () => {
  const go = { metadata: { type: "forward-proxy" }, description: "ngrokd daemon" };
  const older = { metadata: { type: "forward-proxy" }, description: "ngrok forward proxy agent" };
  const sdk = { metadata: { type: "sdk" }, description: "ngrokd-sdk" };
  const seen = (operators: Parameters<typeof census>[0], operatorId: string | undefined) =>
    census(operators, { hostname: "here", operatorId }, new Date()).map(
      ({ id, kind, madeBy }) => `${id}: ${kind}, by ${madeBy}`,
    );

  test("are listed, with the expired ones marked", () => {
    expect(
      seen(
        [
          operator("ours", { day: "01" }),
          operator("go", { ...go, day: "02" }),
          operator("go-old", { ...older, cert: expired, day: "03" }),
          operator("sdk", { ...sdk, cert: expired, day: "04" }),
        ],
        undefined,
      ),
    ).toEqual([
      "sdk: expired, by the Go SDK",
      "go-old: expired, by the Go program",
      "go: other, by the Go program",
      "ours: other, by ngrokd",
    ]);
  });

  test("are this machine's if it has adopted them, whatever made them", () => {
    expect(
      seen([operator("mine", go), operator("other", { metadata: "by hand" })], "mine"),
    ).toEqual(["mine: this machine, by the Go program"]);
    expect(seen([operator("mine", { metadata: "by hand" })], "mine")).toEqual([
      "mine: this machine, by another program",
    ]);
    expect(seen([operator("mine", { ...go, cert: expired })], "mine")).toEqual([
      "mine: this machine, by the Go program",
    ]);
  });
});
