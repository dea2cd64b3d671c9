import { expect, test } from "bun:test";
import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import fc from "fast-check";
import {
  lastListText,
  loadLastList,
  parseLastList,
  saveLastList,
} from "../../src/cloud/last-list.ts";
import { temporaryFolder } from "../machine/support.ts";
import { anyText } from "../support/texts.ts";

const operatorId = "k8sop_1";

test("a list that ngrok sent is read as it was saved, whatever its texts hold", () => {
  const endpoint = fc.record({
    id: anyText,
    url: anyText,
    proto: anyText,
  });
  fc.assert(
    fc.property(fc.array(endpoint, { maxLength: 8 }), (endpoints) => {
      expect(parseLastList(lastListText({ operatorId, endpoints }))).toEqual({
        ok: true,
        value: { operatorId, endpoints },
      });
    }),
  );
});

test("is for root alone, one endpoint a line, and written only if it changes", async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, "endpoints.json");
  expect(await loadLastList(path)).toBeUndefined();
  const list = {
    operatorId,
    endpoints: ["a", "b"].map((id) => ({ id, url: `http://${id}.demo`, proto: "http" })),
  };
  await saveLastList(path, list);
  expect(await readFile(path, "utf8")).toBe(
    '{"version":1,"operator_id":"k8sop_1","endpoints":[\n' +
      '{"id":"a","url":"http://a.demo","proto":"http"},\n{"id":"b","url":"http://b.demo","proto":"http"}]}\n',
  );
  const first = await stat(path);
  expect(first.mode & 0o777).toBe(0o600);
  await saveLastList(path, list);
  expect((await stat(path)).ino).toBe(first.ino);
  await saveLastList(path, { ...list, endpoints: [] });
  expect(await loadLastList(path)).toEqual({ operatorId, endpoints: [] });
});

test.each([
  ["half of it", '{"version":1,"operator_id":"k8sop_1","endpoi', /^it is not JSON: /],
  ["nothing", "", /^it is not JSON: /],
  [
    "a later version",
    '{"version":2,"operator_id":"k8sop_1","endpoints":[]}',
    /^it is not a list of version 1$/,
  ],
  [
    "an id that is none",
    '{"version":1,"operator_id":"../x","endpoints":[]}',
    /^it is not a list of version 1$/,
  ],
  ["another kind of file", "[1]", /^it is not a list of version 1$/],
])(
  "a file with %s is refused with the reason, and replaced by the next list",
  async (_what, text, reason) => {
    const refused = parseLastList(text);
    expect(refused).toEqual({ ok: false, reason: expect.stringMatching(reason) });
    await using folder = await temporaryFolder();
    const path = join(folder.path, "endpoints.json");
    await writeFile(path, text);
    await expect(loadLastList(path)).rejects.toMatchObject({
      code: "state",
      message: expect.stringContaining(`Cannot understand "${path}"`),
    });
    await saveLastList(path, { operatorId, endpoints: [] });
    expect(await loadLastList(path)).toEqual({ operatorId, endpoints: [] });
  },
);

test("an item that makes no sense is an endpoint without id and URL", () => {
  const text = '{"version":1,"operator_id":"k8sop_1","endpoints":[7,{"url":["x"]}]}';
  const nothing = { id: "", url: "", proto: "" };
  expect(parseLastList(text)).toEqual({
    ok: true,
    value: { operatorId, endpoints: [nothing, nothing] },
  });
});
