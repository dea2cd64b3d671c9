import { expect, test } from "bun:test";
import { createReception, type Refusal } from "../../src/relay/reception.ts";
import { later, scripted } from "../support/conns.ts";

const log = { debug() {}, info() {}, warn() {}, error() {} } as never;

function receiving() {
  const gone: Refusal["kind"][] = [];
  let left = 0;
  const reception = createReception({
    laneOf: () => undefined,
    leaves: () => {
      left += 1;
    },
    refused: ({ kind }) => void gone.push(kind),
  });
  return { reception, gone, left: () => left };
}

test("each silent client is reset at its own deadline, whoever came first", async () => {
  const { reception, gone, left } = receiving();
  const [slow, quick, next] = [1, 2, 3].map(() => scripted([], "silence"));
  if (slow === undefined || quick === undefined || next === undefined) throw new Error("no client");
  reception.receive(slow, { openTimeoutMs: 60_000, log });
  reception.receive(quick, { openTimeoutMs: 20, log });
  while (quick.fate === "open") await later(5);
  reception.receive(next, { openTimeoutMs: 20, log });
  while (next.fate === "open") await later(5);
  expect(slow.fate).toBe("open");
  reception.close();
  await later(0);
  expect(slow.fate).toBe("aborted");
  expect(gone).toEqual(["timeout", "timeout", "reset"]);
  expect(left()).toBe(3);
});
