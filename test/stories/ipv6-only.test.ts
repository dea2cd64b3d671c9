import { expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { configFor, startCloud } from "../support/cloud.ts";
import { httpsFront } from "../support/https-front.ts";
import { run, serve, writeConfig } from "../support/ngrokd.ts";
import { atEnd, freshMachine, stories, until } from "../support/story.ts";
import { echo } from "../support/tcp.ts";

/** Both ends of the only wire that leads out of the daemon's machine. */
const [outside, inside] = ["fd99::1", "fd99::2"];
const [apiHost, apiCa] = ["api.story", "/run/api-ca.crt"];

stories("a machine whose network has IPv6 only", () => {
  test.each([
    ["loopback addresses", {}, ["127.0.0.2"]],
    ["a virtual interface", { net: { subnet: "10.107.0.0/16" } }, ["10.107.0.2", "fd"]],
  ])("registers, polls and carries over it, with names on %s", async (_, config, names) => {
    freshMachine();
    const cloud = await startCloud();
    await cloud.add("tcp://echo.demo:7000", (await echo()).address);
    await sixOnly();
    const apiPort = await onSix(await httpsFront(cloud.apiUrl, apiHost, apiCa));
    const ingressPort = await onSix(Number(cloud.ingress.split(":")[1]));
    // The stand-in's certificate is for localhost, too.
    writeFileSync("/etc/hosts", `${outside} ${apiHost}\n${outside} localhost\n`);
    writeConfig(
      configFor(cloud, {
        api: { url: `https://${apiHost}:${apiPort}` },
        ingressEndpoint: `localhost:${ingressPort}`,
        ...config,
      }),
    );
    const daemon = await serve({
      inside: ["ip", "netns", "exec", "six", "/run/bin/ngrokd"],
      env: { NODE_EXTRA_CA_CERTS: apiCa },
    });
    const { ip, ip6 } = await daemon.becomes("echo.demo", "listening");
    expect([ip, ...(ip6 === "" ? [] : [ip6.slice(0, 2)])]).toEqual(names);
    await until("a connection is ready", async () => (await daemon.status()).pool.ready > 0);
    for (const at of [ip, ip6].filter((text) => text !== "")) expect(await said(at)).toBe("hello");
    await until("a ready connection goes there", async () => {
      const connections = ["ss", "-Htn", "dport", `= :${ingressPort}`];
      const { out } = await run(["ip", "netns", "exec", "six", ...connections]);
      return out.includes(`[${outside}]:${ingressPort}`);
    });
    expect((await daemon.status()).phase).toBe("serving");
    expect(await daemon.stop()).toBe(0);
    await cloud.stop();
  });
});

/** The bytes that an echo sends back to a client on the daemon's machine. */
async function said(host: string): Promise<string> {
  const talk = `exec 3<>/dev/tcp/${host}/7000 && printf hello >&3 && head -c 5 <&3`;
  return (await run(["ip", "netns", "exec", "six", "timeout", "60", "bash", "-c", talk])).out;
}

/** The daemon's machine: it has no address of IPv4 but loopback. */
async function sixOnly(): Promise<void> {
  // A namespace that is deleted keeps its end of the wire for a while.
  const script = `mkdir -p /run/netns
ip link del wire0 2>/dev/null || true
ip netns del six 2>/dev/null || true
ip netns add six
ip link add wire0 type veth peer name eth0 netns six
ip addr add ${outside}/64 dev wire0 nodad && ip link set wire0 up
ip -n six link set lo up
ip -n six addr add ${inside}/64 dev eth0 nodad && ip -n six link set eth0 up
ip -n six -6 route add default via ${outside}`;
  const { code, err } = await run(["sh", "-ec", script]);
  if (code !== 0) throw new Error(err);
  atEnd(() => run(["ip", "netns", "del", "six"]));
}

/** Offers a port of 127.0.0.1 on the wire, at the same or another port. */
async function onSix(port: number): Promise<number> {
  const server = createServer((socket) => {
    const inner = connect(port, "127.0.0.1");
    socket.on("error", () => inner.destroy()).pipe(inner);
    inner.on("error", () => socket.destroy()).pipe(socket);
  });
  await until(
    "the wire's address can be used",
    () =>
      new Promise<boolean>((done) => {
        server.once("error", () => done(false));
        server.listen(0, outside, () => done(true));
      }),
  );
  atEnd(() => server.close());
  return (server.address() as { port: number }).port;
}
