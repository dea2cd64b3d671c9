/**
 * Dials a server whose CA is unknown here, in an environment that turns
 * verification off. Prints the result.
 */
import process from "node:process";
import type { Net } from "../../../src/net/types.ts";

const [runtime, port, ca] = process.argv.slice(2);
const net: Net =
  runtime === "bun"
    ? (await import("../../../src/net/bun.ts")).createBunNet()
    : (await import("../../../src/net/node.ts")).createNodeNet();
const outcome = await net
  .dial(
    { host: "127.0.0.1", port: Number(port) },
    { tls: { serverName: "ingress.test", ca: [ca ?? ""] } },
  )
  .then(
    () => "connected",
    (error) => error.code,
  );
console.log(outcome);
process.exit(0);
