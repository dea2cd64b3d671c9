/**
 * Run by `deno test -A test/contract/net_deno_test.ts`. Bun would load it too,
 * since `_test.ts` is one of its patterns, and must not. Its node:tls over a
 * Duplex has no backpressure, so the cases about an unread peer would fill the
 * memory.
 */
import process from "node:process";
import { after, test } from "node:test";
import { createNodeNet } from "../../src/net/node.ts";
import { createWorld, netContract } from "./net-contract.ts";

const nodeNet = createNodeNet();

if (nodeNet.runtime !== "deno")
  throw new Error("this suite is Deno's; on Bun the seam is net.bun.test.ts");

console.log(
  `the seam's contract over nodeNet on ${nodeNet.runtime} ${process.versions[nodeNet.runtime]}`,
);
const world = await createWorld(nodeNet);
after(() => world.end());

for (const { name, run } of netContract) test(name, { timeout: 30_000 }, () => run(world));
