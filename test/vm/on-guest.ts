import type { Machine } from "./machine.ts";

/** What load.ts has counted (guest/load.ts). */
export interface Counts {
  readonly whole: number;
  readonly refused: number;
  readonly cut: number;
  readonly wrong: number;
  readonly long: number;
  readonly longRefused: number;
  readonly longCut: number;
  readonly gap: number;
}

/** What the stories do again and again on the virtual machine. */
export interface OnGuest extends Machine {
  /** Starts what stands behind the endpoints, and trusts its new CA. */
  standIn(): Promise<void>;
  /** Adds an endpoint to the stand-in. */
  add(url: string): Promise<void>;
  writeConfig(yaml: string): Promise<void>;
  /** A property of ngrokd's unit, as systemd has it. */
  unit(property: string): Promise<string>;
  /** Waits until a page is there, by its name. */
  serves(host: string, seconds?: number): Promise<void>;
  /** Waits until the unit's status text matches. */
  tells(pattern: string, seconds?: number): Promise<string>;
  /** The log of the daemon's service since a moment of `now`. */
  log(since?: string): Promise<string>;
  now(): Promise<string>;
  /** Runs `work` under load, and returns what was counted by its end. */
  underLoad(rate: number, open: number, work: () => Promise<void>, host?: string): Promise<Counts>;
}

export function onGuest(machine: Machine): OnGuest {
  const { sh, until } = machine;
  const counts = async (): Promise<Counts> => JSON.parse(await sh("cat /run/load.json"));
  const settled = async (): Promise<void> => {
    const { whole, long } = await counts();
    await until(
      "load gets through",
      `jq() { sed -E "s/.*\\"$1\\":([0-9]+).*/\\1/" /run/load.json; }; ` +
        `(($(jq whole) > ${whole + 20} && $(jq long) > ${long + 20}))`,
      120,
    );
  };
  return {
    ...machine,
    async standIn() {
      await sh(`mkdir -p /opt/stand-in
systemctl stop stand-in services 2>/dev/null
systemd-run -q --unit=services /mnt/bun /mnt/services.ts
systemd-run -q --unit=stand-in /mnt/ngrokd cloud --ca-file /opt/stand-in/ca.crt \\
  --endpoint http://hello.demo=127.0.0.1:3000 --endpoint tcp://echo.demo:7000=127.0.0.1:7007`);
      await until("the stand-in is up", "curl -fs http://127.0.0.1:4050/_cloud", 60);
      await until("the releases are there", "curl -fs http://127.0.0.1:8000/SHA256SUMS", 60);
    },
    async add(url) {
      const body = JSON.stringify({ url, upstream: "127.0.0.1:3000" });
      await sh(`curl -fsS http://127.0.0.1:4050/_cloud/endpoints --json '${body}'`);
    },
    async writeConfig(yaml) {
      await sh(`umask 077; cat >/etc/ngrokd/config.yml <<'YAML'\n${yaml}\nYAML`);
    },
    unit: async (property) => (await sh(`systemctl show ngrokd -p ${property} --value`)).trim(),
    async serves(host, seconds = 120) {
      const ask = `curl -sS -m 5 http://${host}/ | grep -x 'hello from ${host}'`;
      await until(`${host} is served`, ask, seconds);
    },
    tells: (pattern, seconds = 60) =>
      until(
        `the unit's status says ${pattern}`,
        `systemctl show ngrokd -p StatusText --value | grep -E '${pattern}'`,
        seconds,
      ),
    log: (since) =>
      sh(
        `journalctl -u ngrokd -o cat --no-pager${since === undefined ? "" : ` --since '${since}'`}`,
      ),
    now: async () => (await sh("date '+%F %T'")).trim(),
    async underLoad(rate, open, work, host = "echo.demo") {
      await sh(
        `systemctl stop load 2>/dev/null; rm -f /run/load.json
systemd-run -q --unit=load /mnt/bun /mnt/load.ts ${rate} ${open} ${host}`,
      );
      await until("load has begun", "cat /run/load.json");
      await settled();
      await work();
      await settled();
      const seen = await counts();
      await sh("systemctl stop load");
      return seen;
    },
  };
}
