// The part of a daemon that makes aliases, for a test that kills it.

import { recordChange } from "../../../src/journal/journal.ts";
import { darwinLinks } from "../../../src/machine/link/darwin.ts";
import { ip } from "../support.ts";
import { lo0In } from "./ifconfig.ts";

const [folder = ""] = process.argv.slice(2);
const links = darwinLinks({
  ifconfig: `${folder}/ifconfig`,
  netstat: `${folder}/netstat`,
  interfaces: () => lo0In(folder),
  journal: (addresses) =>
    recordChange(folder, { kind: "aliases", path: "/sbin/ifconfig", addresses }),
  recorded: async () => [],
});
await links.carry([ip("10.107.0.1"), ip("10.107.0.2")]);
process.stdout.write("carried\n");
setInterval(() => undefined, 1000);
