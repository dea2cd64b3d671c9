import { expect, test } from "bun:test";
import { loadConfig } from "../../src/config/load.ts";
import { bindingsOf } from "../../src/model/binding.ts";
import type { Answer } from "../../src/names/question.ts";
import { createServable } from "../../src/reach/servable.ts";
import { memoryLog } from "../support/memory-log.ts";

const listed = bindingsOf(
  [
    "https://github.com",
    "http://allowed.example.com",
    "http://hello.demo",
    "https://*.github.io",
    "https://*.team.demo",
  ].map((url, i) => ({ id: `ep_${i}`, url, proto: "" })),
);

const none: Answer = { kind: "none" };
const public4: Answer = { kind: "addresses", addresses: ["192.0.2.1"] };

async function servedWith(
  answer: (name: string) => Answer,
): Promise<{ hosts: string[]; log: string }> {
  const loaded = await loadConfig({ file: "/dev/null", env: {} });
  const config = { ...loaded.config, names: { ...loaded.config.names, allow: ["allowed.*"] } };
  const log = memoryLog();
  const servable = createServable({
    loaded: { ...loaded, config },
    stateFolder: "/nowhere",
    log,
    ask: async (name) => answer(name),
  });
  const { bindings, wildcards } = await servable.of(listed);
  const hosts = [...bindings.map(({ host }) => host), ...wildcards.map(({ key }) => key)];
  return { hosts, log: JSON.stringify(log.lines) };
}

test("an endpoint takes no name that means something else, unless it is allowed", async () => {
  const { hosts, log } = await servedWith((name) =>
    /^(?:github\.com|allowed\.example\.com)$/.test(name) ? public4 : none,
  );
  expect(hosts).toEqual(["allowed.example.com", "hello.demo", "*.team.demo:443"]);
  expect(log).toContain('\\"github.com\\" leads to 192.0.2.1 without ngrokd');
});

test("silent name servers take no name away but public suffixes", async () => {
  const { hosts } = await servedWith(() => ({ kind: "silent" }));
  expect(hosts).toEqual(["allowed.example.com", "github.com", "hello.demo", "*.team.demo:443"]);
});
