import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Message } from "../../src/inspect/exchange.ts";
import { bodyText, down, exchangesIn, head, type Said, up } from "./support.ts";

/** What the parser of node:http (llhttp) reports of one message. */
interface Seen {
  readonly what: string;
  readonly fields: readonly string[];
  body: string;
}

const methodNames: readonly string[] = binding().methods;

/** `skips`: for each reply, whether its request was HEAD. */
function byNode(
  kind: "REQUEST" | "RESPONSE",
  text: string,
  skips: readonly boolean[] = [],
): Seen[] {
  const { HTTPParser } = binding();
  const seen: Seen[] = [];
  const parser = new HTTPParser();
  parser.initialize(HTTPParser[kind], {});
  let open: Seen | undefined;
  let finals = 0;
  const onHead = (...[, minor, fields, method, url, status, reason]: unknown[]): number => {
    const first = kind === "REQUEST" ? [methodNames[Number(method)], url] : [status, reason];
    open = { what: [...first, minor].join(" "), fields: fields as string[], body: "" };
    if (Number(status) < 200) return 0;
    finals += 1;
    return skips[finals - 1] === true ? 1 : 0;
  };
  parser[HTTPParser.kOnHeadersComplete] = onHead;
  parser[HTTPParser.kOnBody] = (bytes: Buffer) => {
    if (open !== undefined) open.body += bytes.toString("latin1");
  };
  parser[HTTPParser.kOnMessageComplete] = () => {
    if (open !== undefined && !/^1\d\d /.test(open.what)) seen.push(open);
  };
  const used = parser.execute(Buffer.from(text, "latin1"));
  if (used instanceof Error) throw used;
  return seen;
}

function binding() {
  const { binding: get } = process as unknown as { binding: (name: string) => unknown };
  // biome-ignore lint/suspicious/noExplicitAny: it has no types.
  return get("http_parser") as any;
}

const byUs = (what: string, message: Message): Seen => ({
  what: `${what} ${message.version.at(-1)}`,
  fields: message.fields.flatMap(({ name, value }) => [name, value ?? ""]),
  body: bodyText(message) ?? "",
});

const body = fc.string({ unit: "binary-ascii", maxLength: 40 });
const token = fc.stringMatching(/^[A-Za-z][A-Za-z0-9-]{0,10}$/).map((name) => `X-${name}`);
const value = fc.stringMatching(/^(?:[!-~](?:[ -~]{0,20}[!-~])?)?$/);
const fields = fc.array(fc.tuple(token, fc.constantFrom("", " ", "\t "), value), { maxLength: 4 });
const chunking = fc.array(fc.nat(9), { maxLength: 4 });

type Framed = { readonly lines: readonly string[]; readonly wire: string };

/** A body with a length or in chunks of these sizes. */
const framed = fc.tuple(fc.constantFrom("length", "chunked"), body, chunking).map(frame);

function frame([kind, text, sizes]: [string, string, number[]]): Framed {
  if (kind === "length") return { lines: [`Content-Length: ${text.length}`], wire: text };
  let [wire, at] = ["", 0];
  for (const size of [...sizes.filter((n) => n > 0), text.length]) {
    const chunk = text.slice(at, at + size);
    if (chunk !== "") wire += `${chunk.length.toString(16)};x=1\r\n${chunk}\r\n`;
    at += size;
  }
  return { lines: ["Transfer-Encoding: chunked"], wire: `${wire}0\r\nX-Trailer: 1\r\n\r\n` };
}

const linesOf = (list: readonly RawField[]): string[] =>
  list.map(([name, blank, text]) => `${name}:${blank}${text}`);

const exchange = fc.record({
  method: fc.constantFrom("GET", "POST", "HEAD", "DELETE", "PATCH", "OPTIONS"),
  path: fc.stringMatching(/^\/[a-z0-9%._~?&=-]{0,20}$/),
  asked: fields,
  sent: fc.option(framed),
  interim: fc.constantFrom("", head("HTTP/1.1 100 Continue"), head("HTTP/1.1 103 Early", "A: b")),
  status: fc.constantFrom("200 OK", "204 No Content", "304 Not Modified", "404 ", "500 Oh no"),
  answered: fields,
  got: framed,
});

interface Conversation {
  readonly method: string;
  readonly path: string;
  readonly asked: readonly RawField[];
  readonly sent: Framed | null;
  readonly interim: string;
  readonly status: string;
  readonly answered: readonly RawField[];
  readonly got: Framed;
}

type RawField = readonly [name: string, blank: string, value: string];

function wireOf(one: Conversation): { request: string; reply: string } {
  const { method, path, asked, sent, interim, status, answered, got } = one;
  const bare = method === "HEAD" || /^(?:204|304)/.test(status);
  const framing = status.startsWith("204") ? [] : got.lines;
  return {
    request:
      head(
        `${method} ${path} HTTP/1.1`,
        "Host: a.demo",
        ...linesOf(asked),
        ...(sent?.lines ?? []),
      ) + (sent?.wire ?? ""),
    reply: `${interim}${head(`HTTP/1.1 ${status}`, ...linesOf(answered), ...framing)}${bare ? "" : got.wire}`,
  };
}

/** Cuts texts at these places, one after the other. */
function pieces(said: readonly Said[], cuts: readonly number[]): Said[] {
  let turn = 0;
  return said.flatMap(([side, text]) => {
    const found: Said[] = [];
    for (let at = 0; at < text.length; ) {
      const size = 1 + (cuts[turn % cuts.length] ?? 0);
      turn += 1;
      found.push([side, text.slice(at, at + size)]);
      at += size;
    }
    return found;
  });
}

describe("however the bytes are cut, a reader and node:http's parser find the same", () => {
  const conversations = fc.array(exchange, { minLength: 1, maxLength: 6 });
  const cuts = fc.array(fc.oneof(fc.nat(3), fc.nat(200)), { minLength: 1, maxLength: 10 });

  function agree(
    said: readonly Said[],
    all: readonly Conversation[],
    wires: readonly Wire[],
  ): void {
    const exchanges = exchangesIn(said);
    expect(exchanges.map(({ end, note }) => `${end}${note}`)).toEqual(all.map(() => "whole"));
    expect(
      exchanges.map(({ method, target, request }) => byUs(`${method} ${target}`, request)),
    ).toEqual(byNode("REQUEST", wires.map(({ request }) => request).join("")));
    const skips = all.map(({ method }) => method === "HEAD");
    expect(
      exchanges.flatMap(({ reply }) =>
        reply === undefined ? [] : [byUs(`${reply.status} ${reply.reason}`, reply)],
      ),
    ).toEqual(byNode("RESPONSE", wires.map(({ reply }) => reply).join(""), skips));
  }

  test("one request after the other", () => {
    fc.assert(
      fc.property(conversations, cuts, (all, sizes) => {
        const wires = all.map(wireOf);
        const said = wires.flatMap(({ request, reply }) => [up(request), down(reply)]);
        agree(pieces(said, sizes), all, wires);
      }),
      { numRuns: 500 },
    );
  });

  test("all requests before the first reply", () => {
    fc.assert(
      fc.property(conversations, cuts, (all, sizes) => {
        const wires = all.map(wireOf);
        const requests = wires.map(({ request }) => up(request));
        const replies = wires.map(({ reply }) => down(reply));
        agree(pieces([...requests, ...replies], sizes), all, wires);
      }),
      { numRuns: 500 },
    );
  });
});

type Wire = ReturnType<typeof wireOf>;
