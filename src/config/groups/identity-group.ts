// The settings `identity`: this machine for ngrok.
import { z } from "zod";
import { group, setting, text } from "../setting.ts";
import * as values from "../values.ts";

export const identity = group(
  "What the ingress learns of this machine with each connection, so that traffic policies of " +
    "ngrok can tell machines and users apart.",
  {
    send: setting(z.boolean().default(false), {
      description:
        "Whether each request to the ingress carries a hash of this machine's id, its host name " +
        "and the annotations. ngrok's operator sends the same fields for pods.",
      allowed: "true or false",
    }),
    annotations: setting(
      z
        .record(text(values.annotationName), text(values.annotationValue))
        .refine((all) => Object.keys(all).length <= 32)
        .default({})
        .readonly(),
      {
        description: "Further facts, by names of your choice.",
        allowed:
          "at most 32 names such as ngrok.com/team, but not ngrok.com/user, each with a text of " +
          "at most 256 characters",
        example: { "ngrok.com/team": "payments" },
      },
    ),
    user: setting(z.boolean().default(false), {
      description:
        "Whether the annotation ngrok.com/user names the user of this machine who connects. The " +
        "system is then asked for the owner of each connection.",
      allowed: "true or false",
    }),
  },
);
