import { expect, test } from "bun:test";
import { createHealth } from "../../src/desk/health-life.ts";
import { net } from "../support/conns.ts";
import { memoryLog } from "../support/memory-log.ts";

const host = "127.88.0.7";
const source = {
  live: () => ({ ok: true, reason: "" }),
  ready: () => ({ ok: true, reason: "" }),
  status: () => ["{}"],
  metrics: async () => [],
  hosts: () => [],
};

test("a taken port is logged once, and tried again until it is free", async () => {
  const other = await net.listen({ host, port: 18088 }, (conn) => conn.close());
  const log = memoryLog();
  const health = createHealth(net, () => ({ host, port: 18088 }), source, log);
  await health.start();
  await health.start();
  expect({ url: health.url, trouble: health.trouble }).toEqual({
    url: undefined,
    trouble: expect.stringContaining("There is no health server: "),
  });
  expect(log.lines).toEqual([
    expect.stringMatching(/^warn There is no health server: .*another program/),
  ]);
  other.close();
  await health.start();
  await health.start();
  expect({ url: health.url, trouble: health.trouble }).toEqual({
    url: `http://${host}:18088/`,
    trouble: "",
  });
  expect(log.lines.slice(1)).toEqual([`info The health server is at http://${host}:18088/ now`]);
  expect(await (await fetch(new URL("readyz", health.url))).text()).toBe("ready\n");
  await health.close();
  expect(health.url).toBeUndefined();
});

test("starts and a move that overlap end with one server at the new address", async () => {
  let port = 18089;
  const log = memoryLog();
  const health = createHealth(net, () => ({ host, port }), source, log);
  const first = [health.start(), health.start()];
  port = 18090;
  await Promise.all([...first, health.move(), health.start()]);
  expect({ url: health.url, trouble: health.trouble }).toEqual({
    url: `http://${host}:18090/`,
    trouble: "",
  });
  await expect(fetch(`http://${host}:18089/readyz`)).rejects.toThrow();
  await health.close();
  await expect(fetch(`http://${host}:18090/readyz`)).rejects.toThrow();
});
