import { afterAll, describe, test } from "bun:test";
import { createBunNet } from "../../src/net/bun.ts";
import { createWorld, netContract } from "./net-contract.ts";

const bunNet = createBunNet();

console.log(`the seam's contract over bunNet on ${bunNet.runtime} ${Bun.version}`);
const world = await createWorld(bunNet);
afterAll(() => world.end());

describe("bunNet", () => {
  for (const { name, run } of netContract) test(name, () => run(world), 30_000);
});
