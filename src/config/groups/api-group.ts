// The settings `api` and `ingressEndpoint`: the way to ngrok.
import { group, setting, text } from "../setting.ts";
import * as values from "../values.ts";

export const api = group("The address of ngrok's API, and the key for it.", {
  url: setting(text(values.apiUrl).default("https://api.ngrok.com"), {
    description:
      "The URL of ngrok's API. Another address is for tests, for example with `ngrokd cloud`.",
    allowed: "an https URL; http for this machine alone (localhost, 127.0.0.1, [::1])",
  }),
  key: setting(text(values.optional(values.apiKey)).default(""), {
    description:
      "The API key of your ngrok account, from https://dashboard.ngrok.com/api-keys. " +
      "`ngrokd set-api-key` checks a key and writes it here.",
    allowed: "8 to 512 characters, without spaces",
    secret: true,
  }),
});

export const ingressEndpoint = setting(
  text(values.ingress).default("kubernetes-binding-ingress.ngrok.io:443"),
  {
    description:
      "The ingress, which carries the connections. If this is not set, the address that " +
      "ngrok returns at the registration is used.",
    allowed: "host or host:port; the port is 443 unless named",
  },
);
