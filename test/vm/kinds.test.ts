import { describe, expect, test } from "bun:test";
import { commandOf, kinds } from "./kinds.ts";
import { type Host, kindFor } from "./whole-system.ts";

const host: Host = {
  skipped: false,
  platform: "linux",
  arch: "x64",
  isRoot: true,
  hasBinary: true,
  has: () => true,
  hasKvm: false,
  wanted: undefined,
};
const without =
  (...missing: string[]): Host["has"] =>
  (program) =>
    !missing.includes(program);

describe("the kind of machine", () => {
  test.each<[string, Partial<Host>, string]>([
    ["with KVM", { hasKvm: true }, "qemu-kvm"],
    ["without", {}, "uml"],
    ["without User-Mode Linux", { has: without("linux.uml") }, "qemu-tcg"],
    ["if one is wanted", { wanted: "qemu-tcg", hasKvm: true }, "qemu-tcg"],
  ])("%s", (_, change, kind) => {
    expect(kindFor({ ...host, ...change })).toEqual({ kind: kind as "uml" });
  });

  test.each<[string, Partial<Host>, RegExp]>([
    ["SKIP_VM", { skipped: true }, /SKIP_VM/],
    ["another system", { platform: "darwin", arch: "arm64" }, /darwin on arm64/],
    ["no root", { isRoot: false }, /root/],
    ["no binary", { hasBinary: false }, /make build/],
    ["no mmdebstrap", { has: without("mmdebstrap") }, /install mmdebstrap/],
    ["no kernel", { has: without("linux.uml", "qemu-system-x86_64") }, /user-mode-linux/],
    ["a wrong word", { wanted: "vmware" }, /VM_KIND is "vmware"/],
    ["a kind that is not there", { wanted: "uml", has: without("linux.uml") }, /user-mode-linux/],
  ])("is none, with the reason: %s", (_, change, reason) => {
    const chosen = kindFor({ ...host, ...change });
    expect("reason" in chosen ? chosen.reason : chosen.kind).toMatch(reason);
  });
});

test.each(kinds.map((kind) => [kind]))("%s gets the disks, and the agent's port", (kind) => {
  const disks = { image: "/image", root: "/run/root.ext4", share: "/run/share.ext4" };
  const words = commandOf(kind, disks).join(" ");
  expect(words).toContain("/run/root.ext4");
  expect(words).toContain("/run/share.ext4");
  expect(words).toMatch(/agent=ttyS\d/);
});
