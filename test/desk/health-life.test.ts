import { expect, test } from "bun:test";
import { createHealth } from "../../src/desk/health-life.ts";
import { net } from "../support/conns.ts";
import { memoryLog } from "../support/memory-log.ts";

const host = "127.88.0.7";
const source = {
  live: () => ({ ok: true, reason: "" }),
  ready: () => ({ ok: true, reason: "" }),
  status: () => ({}),
  metrics: async () => [],
};

test("a health server whose port is taken is told once, tried again, and there once the port is free", async () => {
  const other = await net.listen({ host, port: 18088 }, (conn) => conn.close());
  const log = memoryLog();
  const health = createHealth(() => ({ host, port: 18088 }), source, log);
  await health.start();
  await health.start();
  expect([health.url, health.trouble]).toEqual([
    undefined,
    expect.stringContaining("There is no health server: "),
  ]);
  expect(log.lines).toEqual([
    expect.stringMatching(/^warn There is no health server: .*another program/),
  ]);
  other.close();
  await health.start();
  await health.start();
  expect([health.url, health.trouble]).toEqual([`http://${host}:18088/`, ""]);
  expect(log.lines.slice(1)).toEqual([`info The health server is at http://${host}:18088/ now`]);
  expect(await (await fetch(new URL("readyz", health.url))).text()).toBe("ready\n");
  await health.close();
  expect(health.url).toBeUndefined();
});

test("starts that overlap, and a move among them, end with one server, at the address that counts", async () => {
  let port = 18089;
  const log = memoryLog();
  const health = createHealth(() => ({ host, port }), source, log);
  const first = [health.start(), health.start()];
  port = 18090;
  await Promise.all([...first, health.move(), health.start()]);
  expect([health.url, health.trouble]).toEqual([`http://${host}:18090/`, ""]);
  await expect(fetch(`http://${host}:18089/readyz`)).rejects.toThrow();
  await health.close();
  await expect(fetch(`http://${host}:18090/readyz`)).rejects.toThrow();
});
