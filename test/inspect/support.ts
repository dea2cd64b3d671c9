import { createBudget } from "../../src/inspect/budget.ts";
import type { Exchange, Message } from "../../src/inspect/exchange.ts";
import { createReader, type Keeping } from "../../src/inspect/reader.ts";

export const everything: Keeping = { keepsField: () => true, queries: true, bodyBytes: 1000 };

/** Bytes of one side, as latin1. */
export type Said = readonly [side: "up" | "down", text: string];

export const up = (text: string): Said => ["up", text];
export const down = (text: string): Said => ["down", text];

/** A head with these lines. */
export const head = (...lines: string[]): string => [...lines, "", ""].join("\r\n");

/** The most bytes that a reader of {@link exchangesIn} may hold. */
export const budgetBytes = 1024 * 1024;

/**
 * The exchanges that a reader finds, and what it holds at the end. `ended`:
 * whether the connection came to its end, was cut, or goes on.
 */
export function reading(
  said: readonly Said[],
  { ended = "goes on", keeping = everything, bytes = budgetBytes }: ReadingOptions = {},
): { exchanges: Exchange[]; held: number } {
  const exchanges: Exchange[] = [];
  let held = 0;
  const budget = createBudget(bytes);
  const counted = {
    take(wanted: number) {
      const taken = budget.take(wanted);
      if (taken) held += wanted;
      return taken;
    },
    give(back: number) {
      held -= back;
      budget.give(back);
    },
  };
  let ms = 0;
  const reader = createReader({
    endpoint: "a.demo:80",
    host: "a.demo",
    client: "127.0.0.1:9",
    keeping,
    budget: counted,
    done: (exchange) => exchanges.push(exchange),
    clock() {
      ms += 1;
      return { wall: new Date(0), steady: ms };
    },
  });
  for (const [side, text] of said) {
    // A reader must not keep what belongs to its sender.
    const bytes = Buffer.from(text, "latin1");
    reader[side](bytes);
    bytes.fill(0x58);
  }
  if (ended !== "goes on") reader.end(ended === "whole");
  return { exchanges, held };
}

interface ReadingOptions {
  readonly ended?: "whole" | "cut" | "goes on";
  readonly keeping?: Keeping;
  readonly bytes?: number;
}

export const exchangesIn = (...args: Parameters<typeof reading>): Exchange[] =>
  reading(...args).exchanges;

/** `GET /a 200 whole, 0 up, 5 down`, and the note if there is one. */
export function inShort({ method, target, request, reply, end, note }: Exchange): string {
  const line = [method, target, reply?.status ?? "-", end].join(" ");
  const sizes = `${request.bodyBytes} up, ${reply?.bodyBytes ?? "-"} down`;
  return `${line}, ${sizes}${note === "" ? "" : `: ${note}`}`;
}

export const bodyText = (message: Message | undefined): string | undefined =>
  message?.body && Buffer.from(message.body.bytes).toString("latin1");
