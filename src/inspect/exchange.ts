/** One request and its reply, as they were seen. */

export interface Exchange {
  /** `host:port`, the key of the binding. */
  readonly endpoint: string;
  readonly host: string;
  /** The address of the client. */
  readonly client: string;
  readonly startedAt: Date;
  /** Empty if the request was not read, like all fields of the request. */
  readonly method: string;
  /** The path and the query, or what else the request line has there. */
  readonly target: string;
  /** Whether values of the query, or a password, are not in `target`. */
  readonly hidden: boolean;
  readonly request: Message;
  /** Undefined without a reply. */
  readonly reply: Reply | undefined;
  readonly times: Times;
  readonly end: ExchangeEnd;
  /** Why it is not `whole`, or what else is odd; empty otherwise. */
  readonly note: string;
}

/**
 * `whole`: both messages came to their end. `cut`: the connection ended before.
 * `switched`: another protocol follows, which is not read. `unread`: something
 * came that is not understood, and nothing after it is read.
 */
export const exchangeEnds = ["whole", "cut", "switched", "unread"] as const;
export type ExchangeEnd = (typeof exchangeEnds)[number];

export interface Message {
  /** `HTTP/1.1`. */
  readonly version: string;
  readonly fields: readonly Field[];
  /** With the empty line at the end. */
  readonly headBytes: number;
  /** Without the framing of chunks. */
  readonly bodyBytes: number;
  /** Undefined unless bodies are kept. */
  readonly body: Body | undefined;
}

export interface Reply extends Message {
  readonly status: number;
  readonly reason: string;
}

export interface Field {
  readonly name: string;
  /** Undefined if it is not kept. */
  readonly value: string | undefined;
}

export interface Body {
  readonly bytes: Uint8Array;
  /** False if it was longer than this. */
  readonly whole: boolean;
}

/** Milliseconds. */
export interface Times {
  /** From the request's head to its end. */
  readonly send: number;
  /** From there to the reply's head. */
  readonly wait: number;
  /** From there to the reply's end. */
  readonly receive: number;
  readonly total: number;
}
