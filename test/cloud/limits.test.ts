import { describe, expect, test } from "bun:test";
import { createApi, type ListMemory } from "../../src/cloud/api.ts";
import { readPage } from "../../src/cloud/page.ts";
import type { ApiKey } from "../../src/model/api-key.ts";
import { NgrokdError } from "../../src/model/error.ts";

const mib = 1024 * 1024;

/** An API with one of these bodies as every reply, by path. */
function apiSaying(bodyAt: (path: string) => string | Uint8Array, memory?: ListMemory) {
  const asked: string[] = [];
  const api = createApi({
    url: "https://api.test",
    key: "some-api-key" as ApiKey,
    userAgent: "test",
    ...(memory === undefined ? {} : { memory }),
    fetch: async (url) => {
      const { pathname, search } = new URL(url);
      asked.push(pathname + search);
      return new Response(bodyAt(pathname + search) as unknown as string);
    },
  });
  return { api, asked };
}

async function failure(call: Promise<unknown>): Promise<NgrokdError> {
  const error = await call.then(
    () => new Error("expected a failure"),
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof NgrokdError)) throw error;
  return error;
}

const listOf = (items: string, next = "null"): string =>
  `{"endpoints":[${items}],"next_page_uri":${next}}`;
/** A page of this size, with items of long texts. */
function filled(bytes: number, next = "null"): string {
  const room = Math.floor((bytes - listOf("", next).length) / Math.ceil(bytes / mib));
  const count = Math.ceil(bytes / mib);
  const items = Array.from({ length: count }, (_, i) => {
    const size = i === 0 ? bytes - listOf("", next).length - (count - 1) * room : room - 1;
    return `{"id":"ep_1","metadata":"${"m".repeat(size - 27)}"}`;
  });
  return listOf(items.join(","), next);
}
const times = (item: string, count: number): string => Array(count).fill(item).join(",");

describe("a page of a list", () => {
  test("of 8 MiB and a byte is refused, and one of 8 MiB is read", async () => {
    expect(await apiSaying(() => filled(8 * mib)).api.endpointIds()).toHaveLength(8);
    expect(await failure(apiSaying(() => filled(8 * mib + 1)).api.endpointIds())).toMatchObject({
      code: "protocol",
      message: expect.stringContaining(`answered with more than ${8 * mib} bytes`),
    });
  });

  test.each([
    ["empty objects", "{}"],
    ["numbers", "7"],
    ["empty lists", "[]"],
    ["short objects", '{"id":"a"}'],
  ])("full of %s is refused for its number of items", async (_, item) => {
    const count = Math.floor((8 * mib - 100) / (item.length + 1));
    const { api } = apiSaying(() => listOf(times(item, count)));
    expect(await failure(api.endpointIds())).toMatchObject({
      code: "protocol",
      message: "Cannot list the account's endpoints: the list has more than 50000 items",
      hint: expect.stringContaining("bound_endpoints.selectors"),
    });
  });

  test("lets other work run while it is read", async () => {
    const { api } = apiSaying(() => listOf(times('{"id":"ep_1","url":"http://a.demo"}', 40_000)));
    let turns = 0;
    const timer = setInterval(() => {
      turns += 1;
    }, 0);
    expect(await api.boundEndpoints("k8sop_1")).toHaveLength(40_000);
    clearInterval(timer);
    expect(turns).toBeGreaterThan(20);
  });

  test.each([
    ["scanned", [`"${"x".repeat(3 * mib)}"`], 5],
    ["parsed", Array(40).fill(`"${"x".repeat(33 * 1024)}"`), 30],
    ["validated", Array(16_000).fill("1"), 50],
  ])("lets other work run while it is %s", async (_, items, least) => {
    let turns = 0;
    let next = setImmediate(function count() {
      turns += 1;
      next = setImmediate(count);
    });
    const body = Buffer.from(listOf(items.join(",")));
    const page = await readPage(body, "endpoints", (item) => item, items.length);
    clearImmediate(next);
    expect({ kind: page.kind, enough: turns >= least, turns }).toEqual({
      kind: "page",
      enough: true,
      turns,
    });
  });

  test.each([
    ["items nested", (size: number) => listOf("[".repeat(size) + "]".repeat(size)), 90, 110],
    [
      "outside the list",
      (size: number) => `{"x":"${"x".repeat(size)}",${listOf("").slice(1)}`,
      60_000,
      70_000,
    ],
  ])("has a limit for %s", async (_, body, most, more) => {
    const kindOf = async (size: number): Promise<string> =>
      (await readPage(Buffer.from(body(size)), "endpoints", (item) => item, 1)).kind;
    expect({ most: await kindOf(most), more: await kindOf(more) }).toEqual({
      most: "page",
      more: "no-list",
    });
  });

  test.each([
    ["nested a million times", `{"endpoints":[${"[".repeat(mib)}`],
    ["of a million keys", `{${times('"k":1', mib)}}`],
    ["with one item of more than 4 MiB", listOf(`{"id":"${"x".repeat(4 * mib)}"}`)],
    ["of many lists", `{${times('"a":[]', mib)}}`],
  ])("%s is no list of endpoints", async (_, body) => {
    expect(await failure(apiSaying(() => body).api.endpointIds())).toMatchObject({
      code: "api",
      message: expect.stringContaining("no list of endpoints"),
    });
  });
});

describe("a list", () => {
  test("of 50,000 items is read, and one more is refused, over pages too", async () => {
    const pages = (last: number) => (path: string) =>
      path === "/endpoints"
        ? listOf(times('{"id":"a"}', 49_999), '"/endpoints?2"')
        : listOf(times('{"id":"b"}', last));
    expect(await apiSaying(pages(1)).api.endpointIds()).toHaveLength(50_000);
    expect((await failure(apiSaying(pages(2)).api.endpointIds())).message).toContain(
      "more than 50000 items",
    );
  });

  test("of more than 64 MiB is refused before its pages are all read", async () => {
    const page = (n: number): string => filled(7 * mib, `"/endpoints?${n + 1}"`);
    const { api, asked } = apiSaying((path) => page(Number(path.split("?")[1] ?? 0)));
    expect(await failure(api.endpointIds())).toMatchObject({
      code: "protocol",
      message: "Cannot list the account's endpoints: the list has more than 64 MiB",
    });
    expect(asked).toHaveLength(10);
  });

  test("keeps nothing of a page's bytes", async () => {
    const memory: ListMemory = new Map();
    const { api } = apiSaying(() => filled(mib), memory);
    const first = await api.endpointIds();
    expect(await api.endpointIds()).toBe(first);
    const kept = JSON.stringify([...memory.values()]);
    expect(kept.length).toBeLessThan(1000);
  });

  test("that takes longer than its limit is given up between two pages", async () => {
    let asked = 0;
    const api = createApi({
      url: "https://api.test",
      key: "some-api-key" as ApiKey,
      userAgent: "test",
      listTimeoutMs: 30,
      fetch: async () => {
        asked += 1;
        await Bun.sleep(20);
        return new Response(listOf("", `"/endpoints?${asked}"`));
      },
    });
    expect(await failure(api.endpointIds())).toMatchObject({
      code: "timeout",
      message: `Cannot list the account's endpoints: "https://api.test" has not sent all pages within 0.03 s`,
    });
    expect(asked).toBeLessThan(5);
  });
});

describe("another answer", () => {
  test("of more than 1 MiB is refused", async () => {
    const { api } = apiSaying(() => '{"id":"k8sop_1"}'.padEnd(mib + 1, " "));
    expect(await failure(api.getOperator("k8sop_1"))).toMatchObject({
      code: "protocol",
      message: expect.stringContaining(`more than ${mib} bytes`),
    });
  });
});

describe("a page in pieces", () => {
  const read = (text: string, room = 1000) =>
    readPage(new TextEncoder().encode(text), "endpoints", (item) => item, room);

  test.each([
    ["[]", []],
    ["[ ]", []],
    ["null", []],
    ['["a]b","\\"]","\\\\",{"a":[1,2]},[3]]', ["a]b", '"]', "\\", { a: [1, 2] }, [3]]],
    ['["é€😀"]', ["é€😀"]],
  ])("is the same as parsed at once: %s", async (list, items) => {
    const page = await read(
      `{"a":[1],"b":{"endpoints":[9]},"endpoints":${list},"next_page_uri":"x"}`,
    );
    expect(page).toEqual({ kind: "page", items, next: "x" });
  });

  test("is cut between items, wherever long ones end", async () => {
    const items = Array.from({ length: 300 }, (_, i) => ({ i, text: `",]}${"x".repeat(i * 7)}` }));
    const page = await read(JSON.stringify({ endpoints: items }));
    expect(page).toEqual({ kind: "page", items, next: "" });
  });

  test.each([
    ["a comma at the end", '{"endpoints":[1,]}'],
    ["a comma behind a piece", `{"endpoints":[${times('"xxxxxxxx"', 10_000)},]}`],
    ["a list that ends like an object", '{"endpoints":[1}'],
    ["an item with the wrong brackets", '{"endpoints":[{]}]}'],
    ["a list that does not end", '{"endpoints":[1]'],
    ["a string that does not end", '{"endpoints":["a]}'],
    ["HTML", "<html>"],
    ["nothing", ""],
    ["a number", "5"],
  ])("is no JSON object with %s", async (_, text) => {
    expect((await read(text, 1e6)).kind).toBe("no-json");
  });

  test.each([['{"endpoints":{}}'], ['{"endpoints":"[1]"}'], ["{}"], ["[[1]]"]])(
    "has no list of them: %j",
    async (text) => {
      expect((await read(text)).kind).toBe("no-list");
    },
  );

  test("with more items than there is room for is too long", async () => {
    expect((await read('{"endpoints":[1,2,3]}', 2)).kind).toBe("too-long");
  });
});
