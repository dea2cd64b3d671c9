import { describe, expect, test } from "bun:test";
import { closeSync, fstatSync, openSync } from "node:fs";
import { bindingsOf } from "../../src/model/binding.ts";
import {
  cleanEnvironment,
  givenEnvironment,
  holdingEnvironment,
} from "../../src/model/environment.ts";
import type { Listener } from "../../src/net/types.ts";
import { adoptEach } from "../../src/reach/enclosed.ts";
import {
  directHosts,
  execPlan,
  hostsText,
  nsswitchText,
  proxyVariables,
} from "../../src/reach/exec-plan.ts";
import { obstacleText } from "../../src/reach/obstacle.ts";

const { bindings } = bindingsOf(
  ["http://web.demo", "tcp://db.demo:5432", "tcp://web.demo:22", "http://localhost:80"].map(
    (url, i) => ({ id: `ep_${i}`, url, proto: "" }),
  ),
);

describe("execPlan", () => {
  test("gives each host an address, and each port of it a door", () => {
    const plan = execPlan(bindings);
    expect(plan.names.map(({ ip, host }) => `${ip} ${host}`)).toEqual([
      "127.1.0.1 db.demo",
      "127.1.0.2 web.demo",
    ]);
    expect(plan.doors.map(({ ip, port }) => `${ip}:${port}`)).toEqual([
      "127.1.0.1:5432",
      "127.1.0.2:22",
      "127.1.0.2:80",
    ]);
  });

  test("has spare addresses for the names below wildcards, if there are any", () => {
    expect(execPlan(bindings).spares).toEqual([]);
    const listed = bindingsOf([{ id: "ep_1", url: "https://*.team.demo", proto: "" }]);
    const plan = execPlan(bindings, listed.wildcards);
    expect({ first: plan.spares[0], ports: plan.sparePorts, zones: plan.zones }).toMatchObject({
      first: "127.2.0.1",
      ports: [443],
      zones: ["team.demo"],
    });
    expect(plan.spares).toHaveLength(64);
    expect(directHosts(plan).join()).toBe("db.demo,web.demo,.team.demo");
  });

  test("puts its names before those of the machine", () => {
    expect(hostsText("192.0.2.1 web.demo\n", execPlan(bindings))).toBe(
      "127.1.0.1\tdb.demo\n127.1.0.2\tweb.demo\n192.0.2.1 web.demo\n",
    );
  });
});

test("nsswitchText makes the hosts file count, and leaves the rest", () => {
  const before = "passwd: files\nhosts:  mymachines resolve [!UNAVAIL=return] files dns\n";
  expect(nsswitchText(before)).toBe("passwd: files\nhosts: files dns\n");
  expect(nsswitchText("hosts: files dns\n")).toBeUndefined();
  expect(nsswitchText("passwd: files\n")).toBeUndefined();
});

test("proxyVariables has both spellings", () => {
  const variables = proxyVariables({ http: "127.0.0.1:1", socks: "127.0.0.1:2" }, ["web.demo"]);
  expect(variables).toMatchObject({
    https_proxy: "http://127.0.0.1:1",
    ALL_PROXY: "socks5h://127.0.0.1:2",
    NO_PROXY: "localhost,127.0.0.1,::1,web.demo",
  });
  expect(variables.no_proxy).toBe(variables.NO_PROXY as string);
});

describe("obstacleText", () => {
  test.each([
    ["kernel.unprivileged_userns_clone", "0", "1"],
    ["user.max_user_namespaces", "0", "15000"],
    ["kernel.apparmor_restrict_unprivileged_userns", "1", "0"],
  ])("names %s, and the value that allows it", (name, value, allows) => {
    const text = obstacleText({ said: "Operation not permitted", settings: { [name]: value } });
    expect(text).toContain(`${name} is ${value} (\`sysctl -w ${name}=${allows}\` allows it)`);
  });

  test("says what unshare has said if no setting forbids it", () => {
    const settings = { "user.max_user_namespaces": "96365" };
    expect(obstacleText({ said: "unshare: no", settings })).toContain("(unshare: no)");
  });
});

test("the variables of the runtime are held for the program that is started", () => {
  const before = { HOME: "/h", NODE_OPTIONS: "--x", SSL_CERT_FILE: "/f" };
  const held = holdingEnvironment(cleanEnvironment(before) ?? {}, before);
  expect(held).not.toHaveProperty("NODE_OPTIONS");
  expect(givenEnvironment(held)).toEqual(before);
  expect(
    givenEnvironment({ HOME: "/h", NGROKD_HELD: '{"PATH":"/evil","NODE_OPTIONS":1}' }),
  ).toEqual({ HOME: "/h" });
});

describe("listeners from inside", () => {
  const isOpen = (descriptor: number): boolean => {
    try {
      fstatSync(descriptor);
      return true;
    } catch {
      return false;
    }
  };

  test("are all closed if one of them cannot be adopted, and the rest too", async () => {
    const descriptors = Array.from({ length: 5 }, () => openSync("/dev/null", "r"));
    const adopt = async (descriptor: number) => {
      if (descriptor === descriptors[2]) throw new Error("full");
      return { close: () => closeSync(descriptor) } as Listener;
    };
    const receivers = Array.from({ length: 4 }, () => () => undefined);
    await expect(adoptEach({ adopt }, receivers, descriptors)).rejects.toThrow("full");
    expect(descriptors.filter(isOpen)).toEqual([]);
  });
});
