import { expect, test } from "bun:test";
import { harOf } from "../../src/inspect/har.ts";
import { reportOf } from "../../src/inspect/report.ts";
import { harMistakes as mistakes } from "../support/har.ts";
import { down, everything, exchangesIn, head, type Said, up } from "./support.ts";

const harFor = (said: readonly Said[], keeping = everything) =>
  harOf(
    exchangesIn(said, { ended: "whole", keeping }).map((exchange, i) =>
      reportOf({ id: i + 1, exchange }, true),
    ),
  );

const said = [
  up(`${head("POST /a?b=c%20d HTTP/1.1", "Content-Type: text/plain", "Content-Length: 5")}hello`),
  down(`${head("HTTP/1.1 302 Found", "Location: /x", "Content-Length: 3")}\xff\xfe\0`),
  up(head("GET http://b.demo/y HTTP/1.1")),
];

test("a HAR has what its schema asks for, with and without bodies", () => {
  expect(mistakes(harFor(said))).toEqual([]);
  expect(mistakes(harFor(said, { ...everything, bodyBytes: 0 }))).toEqual([]);
  expect(mistakes(harFor(said, { ...everything, keepsField: () => false }))).toEqual([]);
  expect(mistakes({ log: { version: "1.2", creator: { name: "x" }, entries: [] } })).not.toEqual(
    [],
  );
});

test("a HAR has addresses, fields, bodies as text or base64, and notes", () => {
  expect(harFor(said)).toMatchObject({
    log: {
      version: "1.2",
      creator: { name: "ngrokd" },
      entries: [
        {
          request: {
            method: "POST",
            url: "http://a.demo/a?b=c%20d",
            httpVersion: "HTTP/1.1",
            queryString: [{ name: "b", value: "c d" }],
            bodySize: 5,
            postData: { mimeType: "text/plain", text: "hello" },
          },
          response: {
            status: 302,
            statusText: "Found",
            redirectURL: "/x",
            content: { size: 3, text: "//4A", encoding: "base64" },
          },
        },
        {
          request: { url: "http://b.demo/y" },
          response: { status: 0, bodySize: -1 },
          comment: "the connection ended before the end of the reply",
        },
      ],
    },
  });
});

test("a HAR says *** for a value that was not kept", () => {
  const text = JSON.stringify(harFor(said, { ...everything, keepsField: () => false }));
  expect(text).toContain('{"name":"Location","value":"***"}');
  expect(text).not.toContain('"/x"');
});

test("connections that were not read are left out of a HAR", () => {
  expect(harFor([up("\x16\x03\x01")])).toMatchObject({ log: { entries: [] } });
});
