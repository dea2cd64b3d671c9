// The settings `inspect`: the HTTP requests that are read.
import { z } from "zod";
import { group, setting, text } from "../setting.ts";
import * as values from "../values.ts";

export const inspect = group(
  "Reading the HTTP/1 exchanges of chosen endpoints as they pass, for `ngrokd http`. They are " +
    "kept in memory alone.",
  {
    endpoints: setting(z.array(text(values.endpointGlob)).default([]).readonly(), {
      description:
        "The HTTP endpoints whose new connections are read. Without any, nothing is read or " +
        "kept. Exchanges of an endpoint that is taken out are forgotten at once.",
      allowed: "a list of host names, or host:port; * stands for any characters",
      example: ["shop.example.com", "*.internal"],
    }),
    headers: setting(z.array(text(values.fieldGlob)).default([]).readonly(), {
      description:
        "More header fields whose values are kept. Without any, only fields that describe the " +
        "message keep theirs, such as Content-Type. `*` does not mean Authorization, Cookie " +
        "and other credentials: each of those must be named in full.",
      allowed: "a list of names of header fields; * stands for any characters",
      example: ["location", "x-request-*"],
    }),
    queries: setting(z.boolean().default(false), {
      description: "Whether the values in the queries of addresses are kept, too.",
      allowed: "true or false",
    }),
    body_bytes: setting(z.int().min(0).max(1_048_576).default(0), {
      description:
        "The most bytes that are kept of each body. 0 means that no body is kept, and that no " +
        "request can be replayed.",
      allowed: "a whole number, 0 to 1048576",
    }),
    exchanges: setting(z.int().min(1).max(10_000).default(1000), {
      description: "The most exchanges that are kept, of all endpoints together.",
      allowed: "a whole number, 1 to 10000",
    }),
    minutes: setting(z.int().min(1).max(1440).default(60), {
      description: "How long each exchange is kept, in minutes.",
      allowed: "a whole number, 1 to 1440",
    }),
  },
);
