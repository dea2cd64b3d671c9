import { type Parsed, parsed, quote, unparsed } from "../model/parsed.ts";

/**
 * Faults on demand, each for the next N requests or connections, or until it is
 * cleared. The notation is `name`, `name=value`, `name*3` or `name=value*3`. A
 * status code such as `429` is also a name; its value is the Retry-After in
 * seconds. Different faults can be set at the same time.
 */
export interface Faults {
  /** Replaces a fault of the same name. `times`: undefined is no limit. */
  set(fault: Fault, times?: number): void;
  /** Clears one fault, or all. */
  clear(name?: FaultName): void;
  list(): readonly SetFault[];
  /**
   * Returns the oldest of these faults and counts it down. Undefined if none is
   * set.
   */
  take<N extends FaultName>(...names: N[]): Extract<Fault, { name: N }> | undefined;
}

export interface SetFault {
  readonly fault: Fault;
  /** Undefined: until it is cleared. */
  readonly left: number | undefined;
}

/** The faults, with their default values: milliseconds, megabytes or text. */
export const faultTable = {
  only: { value: "POST", says: "API: the other faults are for calls of this method alone" },
  latency: { value: 1000, says: "API: every answer comes this many milliseconds late" },
  date: {
    value: 600,
    says: "API: the Date header is this many seconds ahead, as if this machine's clock were behind",
  },
  status: {
    value: 0,
    says: "API: refuses with this status (400 to 599); 429=SECONDS and 503=SECONDS send Retry-After",
  },
  html: { value: 502, says: "API: answers a proxy's HTML page with this status (400 to 599)" },
  empty: { value: undefined, says: "API: answers 200 with an empty body" },
  drop: { value: undefined, says: "API: the connection breaks in the middle of the body" },
  huge: { value: 10, says: "API: the answer carries this many megabytes of extra data" },
  "short-page": {
    value: undefined,
    says: "API: a list ends after its first page, as if there were no more",
  },
  "empty-list": {
    value: undefined,
    says: "API: a list of endpoints is empty, as if there were none",
  },
  "foreign-page": {
    value: "http://127.0.0.2:9/",
    says: "API: a list's next_page_uri points to this address",
  },
  "tls-reset": { value: undefined, says: "ingress: resets the connection before TLS" },
  "tls-stall": { value: undefined, says: "ingress: accepts and never speaks TLS" },
  "header-close": {
    value: undefined,
    says: "ingress: closes without an answer, as for an unknown certificate",
  },
  "header-silence": { value: undefined, says: "ingress: takes the request and never answers" },
  "header-garbage": {
    value: undefined,
    says: "ingress: the answer's frame is not valid protobuf",
  },
  "header-cut": { value: undefined, says: "ingress: closes in the middle of the answer" },
  "header-latency": { value: 1000, says: "ingress: the answer comes this many milliseconds late" },
  "header-slow": {
    value: 5,
    says: "ingress: the answer comes byte by byte, this many milliseconds apart",
  },
  "header-joined": {
    value: 50,
    says: "ingress: waits this long for the endpoint's first bytes and sends them in one write with the answer",
  },
  notice: {
    value: "a notice from the local cloud",
    says: "ingress: the answer carries this notice",
  },
  refuse: {
    value: "ERR_NGROK_3200 the endpoint is offline",
    says: "ingress: refuses with this code and message",
  },
  "half-close": {
    value: undefined,
    says: "ingress: ends only its half when a service ends first, so the client may go on",
  },
  "stream-reset": { value: undefined, says: "ingress: accepts, then resets the connection" },
} as const satisfies Record<string, { value: number | string | undefined; says: string }>;

export type FaultName = keyof typeof faultTable;

/** Only `status` has a Retry-After. */
export type Fault = {
  [N in FaultName]: {
    readonly name: N;
    readonly value: Value<N>;
    readonly retryAfterSeconds?: number;
  };
}[FaultName];

type Value<N extends FaultName> = (typeof faultTable)[N]["value"] extends number
  ? number
  : (typeof faultTable)[N]["value"] extends string
    ? string
    : undefined;

export function createFaults(): Faults {
  const faults = new Map<FaultName, SetFault>();
  return {
    set(fault, times) {
      faults.delete(fault.name);
      faults.set(fault.name, { fault, left: times });
    },
    clear(name) {
      if (name === undefined) faults.clear();
      else faults.delete(name);
    },
    list: () => [...faults.values()],
    take<N extends FaultName>(...names: N[]) {
      for (const [name, { fault, left }] of faults) {
        if (!names.some((wanted) => wanted === name)) continue;
        if (left === 1) faults.delete(name);
        else faults.set(name, { fault, left: left === undefined ? undefined : left - 1 });
        return fault as Extract<Fault, { name: N }>;
      }
      return undefined;
    },
  };
}

/** Reads `429*3`, `latency=200`, `refuse=ERR_NGROK_3200 gone*1`, … */
export function parseFault(text: string): Parsed<{ fault: Fault; times: number | undefined }> {
  const match = /^([a-z0-9-]+)(?:=(.*?))?(?:\*(\d{1,9}))?$/s.exec(text.trim());
  if (match === null)
    return unparsed(
      `the fault ${quote(text)} is not written as name, name=value or name=value*times`,
    );
  const [, word = "", argument, timesText] = match;
  const times = timesText === undefined ? undefined : Number(timesText);
  if (times === 0) return unparsed(`the fault ${quote(text)} is for no request at all`);
  const fault = /^\d+$/.test(word) ? parseStatus(word, argument) : parseNamed(word, argument);
  return fault.ok ? parsed({ fault: fault.value, times }) : fault;
}

/** The text that {@link parseFault} reads. */
export function faultText({ fault, left }: SetFault): string {
  const name = fault.name === "status" ? String(fault.value) : fault.name;
  const value = fault.name === "status" ? fault.retryAfterSeconds : fault.value;
  return `${name}${value === undefined ? "" : `=${value}`}${left === undefined ? "" : `*${left}`}`;
}

export function isFaultName(text: string): text is FaultName {
  return Object.hasOwn(faultTable, text);
}

function parseStatus(word: string, argument: string | undefined): Parsed<Fault> {
  if (!/^[45]\d\d$/.test(word)) return unparsed(`the status ${quote(word)} is not 400 to 599`);
  const seconds = argument === undefined ? undefined : wholeNumber(argument);
  if (argument !== undefined && seconds === undefined)
    return unparsed(`${quote(argument)} is not a number of seconds for Retry-After`);
  return parsed({
    name: "status",
    value: Number(word),
    ...(seconds !== undefined && { retryAfterSeconds: seconds }),
  });
}

function parseNamed(name: string, argument: string | undefined): Parsed<Fault> {
  if (name === "status") return unparsed("a status is written as its number, such as 429");
  if (!isFaultName(name))
    return unparsed(`there is no fault ${quote(name)}; there are: a status, ${names.join(", ")}`);
  const preset = faultTable[name].value;
  if (preset === undefined && argument !== undefined)
    return unparsed(`the fault ${quote(name)} takes no value`);
  const value =
    typeof preset === "number" && argument !== undefined
      ? wholeNumber(argument)
      : (argument ?? preset);
  if (preset !== undefined && value === undefined)
    return unparsed(
      `${quote(argument ?? "")} is no value for the fault ${quote(name)}, which takes a number`,
    );
  if (name === "html" && !/^[45]\d\d$/.test(String(value)))
    return unparsed(`the status ${quote(argument ?? "")} is not 400 to 599`);
  // The table gives each name a type, and the value was made for it.
  return parsed({ name, value } as Fault);
}

const names = Object.keys(faultTable).filter((name) => name !== "status");

const wholeNumber = (text: string): number | undefined =>
  /^\d{1,9}$/.test(text) ? Number(text) : undefined;
