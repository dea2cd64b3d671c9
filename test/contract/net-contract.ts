/**
 * The requirements on every implementation of the seam (src/net/types.ts), as
 * data. Each runtime's own test runner runs them.
 */

import { aborts } from "./cases/aborts.ts";
import { adoption } from "./cases/adoption.ts";
import { callers } from "./cases/callers.ts";
import { dials } from "./cases/dials.ts";
import { listeners } from "./cases/listeners.ts";
import { proxies } from "./cases/proxies.ts";
import { streams } from "./cases/streams.ts";
import { tls } from "./cases/tls.ts";
import { udp } from "./cases/udp.ts";
import type { Case } from "./kit.ts";

export { type Case, createWorld, type World } from "./kit.ts";

export const netContract: readonly Case[] = [
  ...streams,
  ...aborts,
  ...dials,
  ...listeners,
  ...callers,
  ...adoption,
  ...tls,
  ...proxies,
  ...udp,
];
