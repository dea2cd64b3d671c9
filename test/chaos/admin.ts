import { renameSync, writeFileSync } from "node:fs";
import { defaultConfig } from "../support/ngrokd.ts";
import { type Daemons, reload } from "./daemons.ts";

export interface Admin {
  readonly reloads: number;
  /** The configuration to begin with. */
  readonly config: object;
  /**
   * Changes one or two settings. The daemon learns of it in one of three ways.
   * Sometimes the file is wrong for a moment.
   */
  reconfigure(random: () => number): Promise<void>;
}

export interface Places {
  readonly apiUrl: string;
  readonly apiKey: string;
  /** `host:port` */
  readonly ingress: string;
  /** Files that trust the same ingress but differ. */
  readonly cas: readonly string[];
}

/**
 * The administrator's changes to a running daemon. None may cost a connection.
 */
export function createAdmin(
  { apiUrl, apiKey, ingress, cas }: Places,
  daemons: Daemons,
  wrong: (text: string) => void,
): Admin {
  let reloads = 0;
  const configuration = (random: () => number): object => {
    const one = <T>(choices: readonly T[]): T =>
      choices[Math.floor(random() * choices.length)] as T;
    return {
      api: { url: apiUrl, key: apiKey },
      ingressEndpoint: ingress,
      server: {
        ingress_ca: one(cas),
        log_level: one(["info", "debug"]),
        health_port: one([8081, 8082]),
      },
      bound_endpoints: { poll_interval: one([1, 2]) },
      forward: {
        drain_timeout: one([2, 5]),
        open_timeout: one([10, 15]),
        session_resumption: one([true, false]),
        pool: { min: one([1, 3]), max: one([32, 8, 0]) },
      },
    };
  };
  return {
    get reloads() {
      return reloads;
    },
    config: configuration(() => 0),
    async reconfigure(random) {
      const text = JSON.stringify(configuration(random));
      const how = random();
      if (how < 0.2) {
        writeFileSync(defaultConfig, "api: {\n");
        const { ok } = await reload();
        if (ok) wrong("a broken configuration was taken over");
      }
      writeFileSync(`${defaultConfig}.new`, text, { mode: 0o600 });
      renameSync(`${defaultConfig}.new`, defaultConfig);
      reloads += 1;
      // The third way is to wait: the file is watched.
      if (how > 0.8) return;
      if (how > 0.5) return daemons.current.kill("SIGHUP");
      const { ok, problems } = await reload();
      if (!ok) wrong(`a good configuration was refused: ${JSON.stringify(problems)}`);
    },
  };
}
