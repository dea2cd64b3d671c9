// The settings `names`: the rules for names.
import { z } from "zod";
import { group, setting, text } from "../setting.ts";
import * as values from "../values.ts";

/** The lists that a profile may have, too. */
export const nameLists = {
  allow: setting(z.array(text(values.nameGlob)).default([]).readonly(), {
    description:
      "Names that may be served although they mean something else without ngrokd. Such names " +
      "are refused otherwise.",
    allowed: "a list of names; * stands for any characters",
    example: ["shop.example.com", "*.corp.example.com"],
  }),
  deny: setting(z.array(text(values.nameGlob)).default([]).readonly(), {
    description: "Names that are never served. They come before names.allow.",
    allowed: "a list of names; * stands for any characters",
    example: ["*.bank.example"],
  }),
  only: setting(z.array(text(values.nameGlob)).default([]).readonly(), {
    description: "If there is one, no other name is served.",
    allowed: "a list of names; * stands for any characters",
    example: ["*.internal"],
  }),
};

export const names = group("The names of endpoints on this machine.", {
  ...nameLists,
  alias: setting(
    z
      .record(text(values.host), z.array(text(values.host)).readonly())
      .default({})
      .readonly(),
    {
      description:
        "More names for the address of an endpoint, in the hosts file. The service sees the name " +
        "that the client uses, unless `forward.rewrite_host` is on.",
      allowed: "host names of endpoints, each with a list of host names",
      example: { "db.internal": ["db", "postgres"] },
    },
  ),
  pin: setting(z.record(text(values.host), text(values.pinnedIp)).default({}).readonly(), {
    description:
      "The address of a host name. No other name gets it. It must be in net.subnet, and " +
      "other names move away from it.",
    allowed: "host names, each with an IPv4 address",
    example: { "db.internal": "127.0.0.9" },
  }),
  expand: setting(
    z
      .record(text(values.wildcardPattern), z.array(text(values.host)).readonly())
      .default({})
      .readonly(),
    {
      description:
        "Names of a wildcard endpoint that are put into the hosts file, each without the " +
        "wildcard's own part. They need no DNS server.",
      allowed: "wildcards such as *.team.internal, each with a list of names below it",
      example: { "*.team.internal": ["api", "shop"] },
    },
  ),
});
