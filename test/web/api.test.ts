import { expect, test } from "bun:test";
import { createFeed } from "../../src/desk/feed.ts";
import { createHistory } from "../../src/history/history.ts";
import { createHttpApi } from "../../src/web/http-api.ts";

function servedApi() {
  const feed = createFeed(createHistory(), () => undefined);
  const app = createHttpApi({ run: async () => ({ events: [], next: "" }), feed });
  const client = { mayRun: () => true, isWelcome: () => true };
  return (method: string) =>
    app.fetch(new Request("http://localhost/api/v1/events", { method }), client);
}

test("HEAD of the events takes no place of a stream", async () => {
  const ask = servedApi();
  for (let i = 0; i < 40; i += 1) await ask("HEAD");
  const reply = await ask("GET");
  expect(reply.status).toBe(200);
  expect(reply.headers.get("content-type")).toBe("text/event-stream");
  await reply.body?.cancel();
});
