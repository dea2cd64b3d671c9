// The settings `access`: the clients of endpoints.
import { z } from "zod";
import { group, setting, text } from "../setting.ts";
import * as values from "../values.ts";

export const access = group("Who may connect to the endpoints.", {
  rules: setting(z.array(accessRule()).default([]).readonly(), {
    description:
      "Which users of this machine, and which other machines, may connect to an endpoint. The " +
      "first rule whose `endpoint` fits decides alone. `users` and `groups` name the users who " +
      "may; without them every user may. `from` has the addresses of other machines that may; " +
      "without it none may. An endpoint without a rule is for every user of this machine, and " +
      "for no other machine unless `net.listen_interface` or `net.overrides` opens it.",
    allowed:
      "a list of rules, each with `endpoint` (a host name or host:port; * stands for any " +
      "characters), and with `users`, `groups` or `from` (IP addresses or ranges)",
    example: [
      { endpoint: "db.internal", users: ["alice"] },
      { endpoint: "*", from: ["10.0.0.0/8"] },
    ],
    fields: {
      endpoint: "a host name, or host:port; * stands for any characters",
      users: "a list of names or numbers of users, with at least one",
      groups: "a list of names or numbers of groups, with at least one",
      from: "a list of IP addresses or ranges such as 10.0.0.0/8, with at least one",
    },
  }),
  hosts: setting(z.array(text(values.nameGlob)).default([]).readonly(), {
    description:
      "More names under which HTTP endpoints may be asked, beside their own, those of " +
      "`names.alias`, and addresses, if `forward.rewrite_host` is on. Others are refused, since a web page could make such a " +
      "name lead here. Without rewriting, the service itself sees the name.",
    allowed: "a list of names; * stands for any characters",
    example: ["*.proxy.internal"],
  }),
});

function accessRule() {
  const some = (rule: values.Rule) => z.array(text(rule)).min(1).readonly().optional();
  return z
    .strictObject({
      endpoint: text(values.endpointGlob),
      users: some(values.accountName),
      groups: some(values.accountName),
      from: some(values.anyRange),
    })
    .readonly();
}
