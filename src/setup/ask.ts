import process from "node:process";
import { createInterface } from "node:readline/promises";
import { NgrokdError } from "../model/error.ts";

/** One of several answers. */
export interface Option<T> {
  readonly value: T;
  readonly name: string;
  /** Shown while it is the chosen one. */
  readonly about?: string;
  /** Why it cannot be chosen here. */
  readonly cannot?: string | undefined;
}

/** Asks a person. Ctrl-C rejects with NgrokdError `cancelled`. */
export interface Ask {
  choose<T extends string>(question: string, options: readonly Option<T>[], initial: T): Promise<T>;
  confirm(question: string, initial: boolean): Promise<boolean>;
  /** `check` returns what is wrong with a text; undefined if nothing is. */
  text(question: string, check: (text: string) => string | undefined): Promise<string>;
}

/** On stderr, since results alone go to stdout. */
const output = process.stderr;

/** Prompts with arrow keys. */
export const prompts: Ask = {
  async choose(question, options, initial) {
    const { default: select } = await import("@inquirer/select");
    const choices = options.map(({ value, name, about, cannot }) => ({
      value,
      name,
      ...(about !== undefined && { description: about }),
      ...(cannot !== undefined && { disabled: `(${cannot})` }),
    }));
    return await answered(
      select({ message: question, choices, default: initial, loop: false }, { output }),
    );
  },
  async confirm(question, initial) {
    const { default: confirm } = await import("@inquirer/confirm");
    return await answered(confirm({ message: question, default: initial }, { output }));
  },
  async text(question, check) {
    const { default: input } = await import("@inquirer/input");
    const validate = (text: string): true | string => check(text.trim()) ?? true;
    return (await answered(input({ message: question, validate }, { output }))).trim();
  },
};

/** Lines and numbers, for a terminal that cannot move its cursor. */
export const lines: Ask = {
  async choose(question, options, initial) {
    output.write(`${question}\n`);
    options.forEach(({ name, cannot }, i) => {
      output.write(`  ${i + 1}) ${name}${cannot === undefined ? "" : ` (not here: ${cannot})`}\n`);
    });
    const usual = options.findIndex(({ value }) => value === initial) + 1;
    for (;;) {
      const typed = (await line(`Number (Enter: ${usual}): `)) || String(usual);
      const option = /^\d{1,2}$/.test(typed) ? options[Number(typed) - 1] : undefined;
      if (option !== undefined && option.cannot === undefined) return option.value;
      output.write(`Type a number from 1 to ${options.length} that can be chosen here.\n`);
    }
  },
  async confirm(question, initial) {
    for (;;) {
      const typed = await line(`${question} (${initial ? "Y/n" : "y/N"}) `);
      if (typed === "") return initial;
      if (/^(?:y|yes|n|no)$/i.test(typed)) return /^y/i.test(typed);
      output.write("Type yes or no.\n");
    }
  },
  async text(question, check) {
    for (;;) {
      const typed = await line(`${question} `);
      const wrong = check(typed);
      if (wrong === undefined) return typed;
      output.write(`${wrong}\n`);
    }
  },
};

async function line(question: string): Promise<string> {
  const reader = createInterface({ input: process.stdin, output, terminal: false });
  const closed = new Promise<never>((_, reject) => {
    reader.once("close", () => reject(cancelled()));
  });
  try {
    return (await Promise.race([reader.question(question), closed])).trim();
  } finally {
    closed.catch(() => undefined);
    reader.close();
  }
}

/** An answer of a prompt, which throws an error of its own for Ctrl-C. */
async function answered<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (cause) {
    throw cancelled(cause);
  }
}

export const cancelled = (cause?: unknown): NgrokdError =>
  new NgrokdError("cancelled", "Setup has ended, and nothing was changed", { cause });
