import { type Moment, moment } from "../model/moment.ts";
import type { Budget } from "./budget.ts";
import type { Exchange, ExchangeEnd, Field, Message, Reply } from "./exchange.ts";
import {
  type Framing,
  isHttp2,
  noBody,
  type RawField,
  type RequestHead,
  readReply,
  readRequest,
  replyFraming,
} from "./heads.ts";
import { keptFields, withoutValues } from "./redact.ts";
import { Scanner } from "./scanner.ts";

/** What is kept of a connection's exchanges. */
export interface Keeping {
  readonly keepsField: (name: string) => boolean;
  /** Whether the values of queries are kept. */
  readonly queries: boolean;
  /** The most bytes that are kept of each body. */
  readonly bodyBytes: number;
}

export interface ReaderOptions {
  readonly endpoint: string;
  readonly host: string;
  readonly client: string;
  readonly keeping: Keeping;
  readonly budget: Budget;
  /** Called with each exchange at its end. Must not throw. */
  readonly done: (exchange: Exchange) => void;
  readonly clock?: () => Moment;
}

/** Sees the bytes of one connection in the order in which they pass. */
export interface Reader {
  /** From the client. */
  up(bytes: Uint8Array): void;
  /** From the endpoint. */
  down(bytes: Uint8Array): void;
  /** `whole`: both sides have finished, and nothing was cut. */
  end(whole: boolean): void;
}

/**
 * Reads the exchanges of one HTTP/1 connection. It never throws, and holds no
 * byte back. It stops to look for good if it meets something that it does not
 * understand.
 */
export function createReader(options: ReaderOptions): Reader {
  return new ExchangeReader(options);
}

/** A client may send this many requests without waiting for a reply. */
const mostWaiting = 256;

/** A class for the same reason as in relay/forward: thousands may wait. */
class ExchangeReader implements Reader {
  private readonly options: ReaderOptions;
  private readonly requests: Scanner;
  private readonly replies: Scanner;
  /** Requests without a whole reply, in the order of their replies. */
  private waiting: Draft[] = [];
  private blind = false;
  /** The last reply's head was an interim one. */
  private interim = false;
  private lastDown = 0;
  /** When the present bytes came, if it was asked for. */
  private came: Moment | undefined;

  constructor(options: ReaderOptions) {
    this.options = options;
    const { budget } = options;
    const requests = {
      head: (text: string, size: number) => this.requestHead(text, size),
      body: (bytes: Uint8Array) => this.waiting.at(-1)?.request.add(bytes),
      end: () => this.requestEnd(),
    };
    const replies = {
      head: (text: string, size: number) => this.replyHead(text, size),
      body: (bytes: Uint8Array) => this.waiting[0]?.reply?.part.add(bytes),
      end: () => this.replyEnd(),
    };
    this.requests = new Scanner(requests, requestStart, budget);
    this.replies = new Scanner(replies, replyStart, budget);
  }

  up(bytes: Uint8Array): void {
    if (this.blind) return;
    this.came = undefined;
    const reason = this.requests.take(bytes);
    if (reason !== undefined) this.stop("unread", reason);
  }

  down(bytes: Uint8Array): void {
    if (this.blind) return;
    this.came = undefined;
    const reason = this.replies.take(bytes);
    if (this.replies.untilClose) this.lastDown = this.now().steady;
    if (reason !== undefined) this.stop("unread", reason);
  }

  end(whole: boolean): void {
    if (this.blind) return;
    this.came = undefined;
    const [first] = this.waiting;
    if (whole && first?.reply !== undefined && this.replies.untilClose) {
      first.reply.end = this.lastDown;
      if (first.requestEnd !== undefined) this.finish("whole", "");
    }
    for (const { reply } of [...this.waiting])
      this.finish("cut", reply?.end === undefined ? cutReply : cutRequest);
    this.goBlind();
  }

  private requestHead(text: string, size: number): Framing | string {
    const head = readRequest(text);
    if (typeof head === "string") return head;
    if (this.waiting.some(({ head: { switches } }) => switches !== undefined))
      return "the client went on before the reply to its request for another protocol";
    if (this.waiting.length >= mostWaiting)
      return `more than ${mostWaiting} requests wait for their replies`;
    const cost = 2 * size;
    const { budget, keeping } = this.options;
    if (!budget.take(cost)) return "there is no memory for another request";
    const part = new Part(head.version, this.fieldsOf(head.fields), size, this.options);
    const target = keeping.queries ? head.target : withoutValues(head.target);
    this.waiting.push({
      head: { method: head.method, switches: head.switches },
      target,
      hidden: target !== head.target,
      start: this.now(),
      request: part,
      requestEnd: undefined,
      reply: undefined,
      cost,
    });
    return head.framing;
  }

  private requestEnd(): void {
    const draft = this.waiting.at(-1);
    if (draft !== undefined) draft.requestEnd = this.now().steady;
    this.settle();
  }

  private replyHead(text: string, size: number): Framing | string {
    const head = readReply(text);
    if (typeof head === "string") return head;
    const [draft] = this.waiting;
    if (draft === undefined || draft.reply !== undefined) return "a reply came without its request";
    const { status } = head;
    this.interim = status < 200 && status !== 101;
    if (this.interim) return noBody;
    const framing = replyFraming(head, draft.head);
    if (typeof framing === "string") return framing;
    if (!this.options.budget.take(2 * size)) return "there is no memory for another reply";
    draft.cost += 2 * size;
    const part = new Part(head.version, this.fieldsOf(head.fields), size, this.options);
    const start = this.now().steady;
    draft.reply = { part, status, reason: head.reason, start, end: undefined };
    if (framing.kind === "opaque") {
      draft.reply.end = start;
      this.stop("switched", `${nextProtocol(draft.head, head.fields)} follows, which is not read`);
    } else draft.head.switches = undefined;
    return framing;
  }

  private replyEnd(): void {
    const reply = this.waiting[0]?.reply;
    if (this.interim || reply === undefined) return;
    reply.end = this.now().steady;
    this.settle();
  }

  /** An early reply waits for the end of its request. */
  private settle(): void {
    const [first] = this.waiting;
    if (first?.requestEnd !== undefined && first.reply?.end !== undefined) this.finish("whole", "");
  }

  /** Ends the first of those that wait. */
  private finish(end: ExchangeEnd, note: string): void {
    const draft = this.waiting.shift();
    if (draft === undefined) return;
    const exchange = exchangeOf(draft, this.options, { end, note, now: this.now().steady });
    draft.request.release();
    draft.reply?.part.release();
    this.options.budget.give(draft.cost);
    this.options.done(exchange);
  }

  /** What is understood so far counts, and nothing later is looked at. */
  private stop(end: "switched" | "unread", note: string): void {
    if (this.waiting.length === 0) {
      const { endpoint, host, client } = this.options;
      this.options.done({ endpoint, host, client, ...unknown, startedAt: this.now().wall, note });
    }
    while (this.waiting.length > 0) this.finish(end, note);
    this.goBlind();
  }

  private goBlind(): void {
    this.blind = true;
    this.requests.stop();
    this.replies.stop();
  }

  private fieldsOf(fields: readonly RawField[]): Field[] {
    return keptFields(fields, this.options.keeping.keepsField);
  }

  /** The clock is read once for all that is found in the same bytes. */
  private now(): Moment {
    this.came ??= (this.options.clock ?? moment)();
    return this.came;
  }
}

/** An exchange that has not ended. Times are those of the steady clock. */
interface Draft {
  readonly head: { method: string; switches: RequestHead["switches"] };
  readonly target: string;
  readonly hidden: boolean;
  readonly start: Moment;
  readonly request: Part;
  requestEnd: number | undefined;
  reply:
    | {
        readonly part: Part;
        readonly status: number;
        readonly reason: string;
        readonly start: number;
        end: number | undefined;
      }
    | undefined;
  /** The share of the budget. */
  cost: number;
}

/** A message that has not ended. */
class Part {
  private readonly version: string;
  private readonly fields: readonly Field[];
  private readonly headBytes: number;
  private readonly most: number;
  private readonly budget: Budget;
  private bodyBytes = 0;
  private held = 0;
  private whole = true;
  private readonly chunks: Uint8Array[] = [];

  constructor(
    version: string,
    fields: readonly Field[],
    headBytes: number,
    { keeping, budget }: Pick<ReaderOptions, "keeping" | "budget">,
  ) {
    this.version = version;
    this.fields = fields;
    this.headBytes = headBytes;
    this.most = keeping.bodyBytes;
    this.budget = budget;
  }

  add(bytes: Uint8Array): void {
    this.bodyBytes += bytes.length;
    if (this.most === 0 || !this.whole) return;
    const room = Math.min(bytes.length, this.most - this.held);
    // A chunk costs more than its bytes, however small it is.
    if (!this.budget.take(room + chunkCost)) {
      this.whole = false;
      return;
    }
    if (room < bytes.length) this.whole = false;
    this.held += room;
    // A copy: the slice of a Buffer would be none.
    this.chunks.push(new Uint8Array(bytes.subarray(0, room)));
  }

  get seen(): Message {
    const { version, fields, headBytes, bodyBytes, whole } = this;
    const body = this.most === 0 ? undefined : { bytes: Buffer.concat(this.chunks), whole };
    return { version, fields, headBytes, bodyBytes, body };
  }

  release(): void {
    this.budget.give(this.held + this.chunks.length * chunkCost);
  }
}

const chunkCost = 64;

/** Pure. A side that has not ended ends now. */
function exchangeOf(
  draft: Draft,
  { endpoint, host, client }: ReaderOptions,
  { end, note, now }: { end: ExchangeEnd; note: string; now: number },
): Exchange {
  const { head, target, hidden, start, request, reply } = draft;
  const requestEnd = draft.requestEnd ?? reply?.start ?? now;
  const replyStart = reply === undefined ? now : Math.max(reply.start, requestEnd);
  const replyEnd = Math.max(reply?.end ?? now, replyStart);
  const seen: Reply | undefined = reply && {
    ...reply.part.seen,
    status: reply.status,
    reason: reply.reason,
  };
  return {
    endpoint,
    host,
    client,
    startedAt: start.wall,
    method: head.method,
    target,
    hidden,
    request: request.seen,
    reply: seen,
    times: {
      send: requestEnd - start.steady,
      wait: replyStart - requestEnd,
      receive: replyEnd - replyStart,
      total: replyEnd - start.steady,
    },
    end,
    note,
  };
}

const unknown = {
  method: "",
  target: "",
  hidden: false,
  request: { version: "", fields: [], headBytes: 0, bodyBytes: 0, body: undefined },
  reply: undefined,
  times: { send: 0, wait: 0, receive: 0, total: 0 },
  end: "unread",
} as const;

const cutReply = "the connection ended before the end of the reply";
const cutRequest = "the connection ended before the end of the request";

/** A method has a few letters, and then there is a space. */
const requestStart = (text: string): string | undefined =>
  /^[!#$%&'*+\-.^_`|~\w]{0,32}(?:$| )/.test(text) ? undefined : notHttp;

/** A server of HTTP/2 need not wait for the client's first bytes. */
function replyStart(text: string): string | undefined {
  if (text.startsWith("HTTP/1.") || "HTTP/1.".startsWith(text)) return undefined;
  if (!settingsFrame.test(text + anySettings.slice(text.length))) return notHttp;
  return text.length < anySettings.length ? undefined : isHttp2;
}

const notHttp = "it is not HTTP";

/** The first frame of a server: its length, type and stream (RFC 9113, 3.4). */
const settingsFrame = /^\0[\0-@].\x04\0{5}/s;
const anySettings = "\0\0\0\x04\0\0\0\0\0";

function nextProtocol({ method }: Draft["head"], fields: readonly RawField[]): string {
  if (method === "CONNECT") return "a tunnel";
  const [, name = ""] = fields.find(([field]) => field.toLowerCase() === "upgrade") ?? [];
  return /^[\w./-]{1,40}$/.test(name) ? name : "another protocol";
}
