import { expect, test } from "bun:test";
import { type Cloud, configFor, startCloud } from "../support/cloud.ts";
import { startLoad, undisturbed } from "../support/load.ts";
import { type Daemon, ngrokd, serve, writeConfig } from "../support/ngrokd.ts";
import { type ServiceManager, startServiceManager } from "../support/service-manager.ts";
import { stories, until } from "../support/story.ts";
import { dial, echo } from "../support/tcp.ts";

const names = ["one.demo", "two.demo", "three.demo"];
/** New connections a second, and long ones. */
const load = { rate: 120, long: 60 };

stories("a handover to another program", () => {
  let cloud: Cloud;
  let daemon: Daemon;
  let manager: ServiceManager;

  const targets = async () => {
    const items = await daemon.list();
    return names.map((name) => {
      const item = items.find(({ hostname }) => hostname === name);
      if (item === undefined) throw new Error(`no endpoint ${name}`);
      return { name, ip: item.ip, port: item.port };
    });
  };

  test("leaves no client refused and no byte lost, several times in a row", async () => {
    cloud = await startCloud();
    writeConfig(configFor(cloud));
    manager = startServiceManager();
    const service = await echo();
    for (const name of names) await cloud.add(`tcp://${name}:7000`, service.address);
    daemon = await serve({ env: manager.env, args: "--json" });
    for (const name of names) await daemon.becomes(name, "listening");
    const running = startLoad(load, await targets());
    await Bun.sleep(1500);
    const pids = new Set([(await daemon.status()).pid]);
    for (let round = 1; round <= 5; round += 1) {
      const ran = await ngrokd("upgrade --json");
      expect(ran.err).toBe("");
      expect(ran.json).toMatchObject({ way: "beside" });
      const { pid, phase } = await daemon.status();
      expect({ pid, phase }).toEqual({ pid: ran.json.pid, phase: "serving" });
      await until("systemd knows the process", () => manager.mainPid() === pid);
      pids.add(pid);
      await Bun.sleep(700);
    }
    expect(pids.size).toBe(6);
    const report = await running.end();
    expect(report).toMatchObject(undisturbed);
    expect(report.complete).toBeGreaterThan(300);
    expect(report.longBytes).toBeGreaterThan(500_000);
  });
});
