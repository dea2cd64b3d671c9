/** Run by `deno test -A`; a `.test.ts` it is not, since Bun would take it for its own. */
import process from "node:process";
import { test } from "node:test";
import { nodeNet } from "../../src/net/node.ts";
import { createWorld, netContract } from "./net-contract.ts";

console.log(`the seam's contract over nodeNet on ${nodeNet.runtime} ${process.versions[nodeNet.runtime]}`);
