import { hostname } from "node:os";
import type { HostFacts } from "../cloud/registration.ts";
import { version } from "../version.ts";

/** The facts about this machine that ngrok receives at registration. */
export const hostFacts = (): HostFacts => ({
  hostname: hostname(),
  os: process.platform,
  arch: process.arch,
  version,
});
