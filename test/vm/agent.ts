/** What a command on the virtual machine said. */
export interface Said {
  readonly code: number;
  readonly out: string;
}

/** A line of the machine: its agent is up, or has run a command. */
export type Line =
  | { readonly kind: "ready" }
  | { readonly kind: "said"; readonly number: number; readonly said: Said };

/** Pure: the line that asks guest/agent.sh to run a command. */
export const lineFor = (number: number, command: string, seconds: number): string =>
  `${number} ${seconds} ${Buffer.from(command).toString("base64")}\n`;

/**
 * Pure: what the agent says in a line. Undefined for any other text, such as
 * what the kernel prints before it.
 */
export function agentLine(text: string): Line | undefined {
  if (text.trim() === "@ready") return { kind: "ready" };
  const [, number, code, out = ""] = /^@(\d+) (\d+) ?([\w+/=]*)\r?$/.exec(text) ?? [];
  if (number === undefined) return undefined;
  const said = { code: Number(code), out: Buffer.from(out, "base64").toString() };
  return { kind: "said", number: Number(number), said };
}
