import { describe, expect, test } from "bun:test";
import { configSchema } from "../../src/config/schema.ts";
import { relayLimits } from "../../src/daemon/relay-settings.ts";

describe("relayLimits", () => {
  test("lets requests name an endpoint by its aliases too", () => {
    const config = configSchema.parse({
      access: { hosts: ["*.lan"] },
      names: { alias: { "db.demo": ["db", "store.lan"] } },
    });
    expect(relayLimits(config).hosts).toEqual(["*.lan", "db", "store.lan"]);
  });
});
