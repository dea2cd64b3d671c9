import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { socketPorts, sshdPorts, wantedPorts, wantedText } from "../../src/machine/wanted-ports.ts";

test.each([
  ["Port 2222\n", [2222]],
  ["#Port 22\n  port=2022\nPort\t2023 \nPortForwarding 7\n", [2022, 2023]],
  ["Port 2222 # also from outside\n", [2222]],
  ["ListenAddress 0.0.0.0:2222\nListenAddress [::]:2223 # all\n", [2222, 2223]],
  ["ListenAddress 10.0.0.5:2222\nListenAddress ::\nListenAddress 0.0.0.0\n", []],
  ["Match User a\n", []],
])("sshd's %j wants %j", (text, ports) => {
  expect(sshdPorts(text)).toEqual([...ports]);
});

test.each([
  ["ListenStream=22\nListenStream = [::]:23\nListenStream=0.0.0.0:24\n", [22, 23, 24]],
  ["ListenStream=127.0.0.1:80\nListenStream=/run/x\nListenDatagram=53\n", []],
  ["ListenStream=22\nListenStream=\nListenStream=2222\n", [2222]],
])("a socket unit's %j wants %j", (text, ports) => {
  expect(socketPorts(text)).toEqual([...ports]);
});

test("the files of a machine are read together, through links too", async () => {
  const folder = mkdtempSync(join(tmpdir(), "ngrokd-ports-"));
  const at = (name: string): string => join(folder, name);
  const places = { sshd: at("sshd_config"), sshdParts: at("parts"), sockets: at("wants") };
  expect(await wantedPorts(places)).toEqual(new Map());
  mkdirSync(at("parts"));
  mkdirSync(at("wants"));
  writeFileSync(at("sshd_config"), "PermitRootLogin no\n");
  expect(await wantedPorts(places)).toEqual(new Map([[22, places.sshd]]));
  writeFileSync(at("parts/own.conf"), "Port 2222\n");
  writeFileSync(at("telnet"), "ListenStream=23\n");
  symlinkSync(at("telnet"), at("wants/telnet.socket"));
  symlinkSync(at("gone"), at("wants/gone.socket"));
  const wanted = await wantedPorts(places);
  rmSync(folder, { recursive: true });
  expect(wanted).toEqual(
    new Map([
      [2222, at("parts/own.conf")],
      [23, at("wants/telnet.socket")],
    ]),
  );
  expect(wantedText(23, wanted)).toContain("wants port 23 on all addresses");
  expect(wantedText(80, wanted)).toBe("");
  expect(wantedText(513, wanted)).toContain("port 513 is for remote logins (login)");
});
