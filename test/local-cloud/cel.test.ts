import { describe, expect, test } from "bun:test";
import { parseCondition, parseSelectors } from "../../src/local-cloud/cel.ts";
import { value } from "./support.ts";

const endpoint = {
  id: "ep_1",
  url: "http://api.prod:8080",
  host: "api.prod",
  port: 8080,
  bindings: ["kubernetes"],
  metadata: { team: "a", tier: 2 },
  created_at: "2026-05-01T00:00:00Z",
  pooling_enabled: true,
};

describe("parseCondition", () => {
  const conditions: [string, boolean][] = [
    ["true", true],
    ["false", false],
    ["endpoint.metadata.team == 'a'", true],
    ["endpoint.metadata.team != 'a'", false],
    ["endpoint.metadata.team in ['b', 'a']", true],
    ["endpoint.metadata.tier == 2", true],
    ["endpoint.port == 8080 && endpoint.port < 9000", true],
    ["endpoint.port in [80, 8080]", true],
    ["endpoint.url.startsWith('http:') || false", true],
    ["endpoint.host.endsWith('.stage')", false],
    ["'kubernetes' in endpoint.bindings", true],
    ["size(endpoint.bindings) == 2", false],
    ["endpoint.created_at > timestamp('2026-01-01T00:00:00Z')", true],
    ["endpoint.created_at < timestamp('2026-01-01T00:00:00Z')", false],
    ["endpoint.pooling_enabled", true],
    ["has(endpoint.metadata.owner)", false],
    // A selector that cannot be evaluated for an endpoint does not match it.
    ["endpoint.metadata.owner == 'me'", false],
    ["endpoint.metadata.owner != 'me'", false],
    ["endpoint.url", false],
  ];
  for (const [expression, chosen] of conditions) {
    test(`decides ${expression}`, () => {
      expect(value(parseCondition(expression, "endpoint"))(() => endpoint)).toBe(chosen);
    });
  }

  for (const expression of ["", "not cel (", "endpoint.", "env == 'a'", "1", "'true'", "obj.id"]) {
    test(`refuses ${JSON.stringify(expression)}, which is no condition`, () => {
      const read = parseCondition(expression, "endpoint");
      expect(read.ok ? "accepted" : read.reason).toContain(`"${expression}"`);
    });
  }
});

describe("parseSelectors", () => {
  test("chooses an endpoint if any of them does, and all without selectors", () => {
    const chooses = (...selectors: string[]) => value(parseSelectors(selectors))(() => endpoint);
    expect(chooses()).toBe(true);
    expect(chooses("false", "endpoint.port == 8080")).toBe(true);
    expect(chooses("false", "endpoint.port == 1")).toBe(false);
    expect(parseSelectors(["true", "("]).ok).toBe(false);
  });
});
