// The settings `bound_endpoints`: the endpoints to serve.
import { z } from "zod";
import { group, setting } from "../setting.ts";

export const bound_endpoints = group("The endpoints to serve, and how soon a change is noticed.", {
  poll_interval: setting(z.int().min(1).max(86_400).default(30), {
    description: "The time in seconds between two polls of ngrok's list of endpoints.",
    allowed: "a whole number, 1 to 86400",
  }),
  selectors: setting(z.array(z.string().trim().min(1)).default(["true"]).readonly(), {
    description: "CEL expressions that select the endpoints of your account; 'true' selects all.",
    allowed: "a list of texts that are not empty",
  }),
});
