import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { resolverNeeds, usualPlaces } from "../../../src/machine/resolver/facts.ts";
import { temporaryFolder } from "../support.ts";

test("a service needs D-Bus for a resolvectl at any of its paths, or for dnsmasq", async () => {
  await using folder = await temporaryFolder();
  const at = (name: string): string => join(folder.path, name);
  const places = {
    ...usualPlaces,
    resolvectl: [at("usr-resolvectl"), at("resolvectl")],
    networkManager: at("nm"),
  };
  expect(resolverNeeds(places)).toEqual({ usesDbus: false, folders: [] });
  writeFileSync(at("resolvectl"), "");
  expect(resolverNeeds(places)).toEqual({ usesDbus: true, folders: [] });
  mkdirSync(at("nm/dnsmasq.d"), { recursive: true });
  const dnsmasq = [at("nm/dnsmasq.d")];
  expect(resolverNeeds(places)).toEqual({ usesDbus: true, folders: dnsmasq });
  const without = { ...places, resolvectl: [] };
  expect(resolverNeeds(without)).toEqual({ usesDbus: true, folders: dnsmasq });
});
