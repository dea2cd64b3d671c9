import { expect, test } from "bun:test";
import { census } from "../../src/cloud/census.ts";
import { operatorOf } from "../../src/cloud/wire.ts";
import { hours, issue, rootCa } from "../support/pki.ts";

const ca = await rootCa("Some CA");
const fresh = (await issue(ca, "a", { notAfter: hours(2) })).cert;
const expired = (await issue(ca, "b", { notBefore: hours(-9), notAfter: hours(-2) })).cert;

function operator(
  id: string,
  { metadata, cert = fresh, day = "01" }: { metadata?: unknown; cert?: string; day?: string } = {},
) {
  const found = operatorOf({
    id,
    created_at: `2026-01-${day}T00:00:00Z`,
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
  ];
  expect(kinds(foreign.map((metadata, i) => operator(`k8sop_${i}`, { metadata })))).toEqual([]);
});

test("tells this machine's, expired, same-name and other operators apart", () => {
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
