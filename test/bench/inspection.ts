import { createInspector } from "../../src/inspect/inspect.ts";

/** The cost of the inspection for a body chunk of 64 KiB, in microseconds. */
export function chunkCost(count: number): number {
  const inspector = createInspector(() => ({
    endpoints: ["*"],
    headers: [],
    queries: false,
    bodyBytes: 0,
    count: 100,
    ms: 60_000,
  }));
  const chunk = new Uint8Array(64 * 1024);
  const read = (chunks: number): number => {
    const subject = { endpoint: "relay.bench:80", host: "relay.bench", client: "127.0.0.1" };
    const reader = inspector.reader(subject);
    if (reader === undefined) throw new Error("The endpoint is not inspected");
    reader.up(Buffer.from("GET / HTTP/1.1\r\nHost: relay.bench\r\n\r\n"));
    const length = chunks * chunk.length;
    reader.down(Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: ${length}\r\n\r\n`));
    const start = performance.now();
    for (let i = 0; i < chunks; i += 1) reader.down(chunk);
    const took = performance.now() - start;
    reader.end(true);
    return (took * 1000) / chunks;
  };
  // The first ones run before the code is compiled.
  read(Math.ceil(count / 10));
  const cost = read(count);
  const seen = inspector.page({ bodies: false }).exchanges.at(-1);
  inspector.stop();
  if (seen?.end !== "whole") throw new Error("The exchange was not read to its end");
  return cost;
}
