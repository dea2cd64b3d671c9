/** Run by `deno test -A test/contract/net_deno_test.ts`. Not named `.test.ts`, since that is what Bun takes for its own. */
import process from "node:process";
import { after, test } from "node:test";
import { nodeNet } from "../../src/net/node.ts";
import { createWorld, netContract } from "./net-contract.ts";

console.log(`the seam's contract over nodeNet on ${nodeNet.runtime} ${process.versions[nodeNet.runtime]}`);
const world = await createWorld(nodeNet);
after(() => world.end());

for (const { name, run } of netContract) test(name, { timeout: 30_000 }, () => run(world));
