import { describe, expect, test } from "bun:test";
import { lstatSync, readFileSync } from "node:fs";
import { chmod, mkdir, mkdtemp, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { savePart } from "../../src/cloud/identity-files.ts";
import { linkedFile } from "../../src/files/link.ts";

async function scene(): Promise<{ link: string; target: string; folder: string; at: string }> {
  const at = await mkdtemp(join(tmpdir(), "ngrokd-link-"));
  const folder = join(at, "certs");
  await mkdir(folder, { mode: 0o755 });
  const [link, target] = [join(at, "tls.crt"), join(folder, "real.crt")];
  await symlink("certs/real.crt", link);
  return { at, folder, link, target };
}

describe("a file that is a symbolic link", () => {
  test("is written at the link's target, even if there is no file yet", async () => {
    const { link, target } = await scene();
    expect(await linkedFile(link)).toBe(target);
    await writeFile(target, "old");
    expect(await linkedFile(link)).toBe(target);
    expect(await linkedFile(target)).toBe(target);
  });

  test("is not followed to a folder that others may write", async () => {
    const { link, folder } = await scene();
    for (const mode of [0o775, 0o777, 0o1777]) {
      await chmod(folder, mode);
      expect(await linkedFile(link)).toBe(link);
    }
  });

  test("is not followed through a folder between that others may write", async () => {
    const { at, target } = await scene();
    await writeFile(target, "old");
    const between = join(at, "between");
    await mkdir(between, { mode: 0o755 });
    await symlink(target, join(between, "second"));
    await symlink("../certs", join(between, "folder"));
    const [byFile, byFolder] = [join(at, "by-file"), join(at, "by-folder")];
    await symlink("between/second", byFile);
    await symlink("between/folder/real.crt", byFolder);
    for (const link of [byFile, byFolder]) expect(await linkedFile(link)).toBe(target);
    await chmod(between, 0o777);
    for (const link of [byFile, byFolder]) expect(await linkedFile(link)).toBe(link);
  });

  test("is not followed in a circle, or to nowhere", async () => {
    const { at } = await scene();
    const round = join(at, "round");
    await symlink("round", round);
    expect(await linkedFile(round)).toBe(round);
    const nowhere = join(at, "nowhere");
    await symlink("no/such/folder", nowhere);
    expect(await linkedFile(nowhere)).toBe(nowhere);
  });

  test("stays a link if it is a certificate that is renewed", async () => {
    const { at, link, target } = await scene();
    const paths = {
      key: join(at, "tls.key"),
      cert: link,
      operatorId: join(at, "operator_id"),
      ingressEndpoint: join(at, "ingress_endpoint"),
    };
    await writeFile(paths.key, "key");
    await writeFile(target, "old");
    const identity = {
      operatorId: "k8sop_1",
      certPem: "renewed",
      keyPem: "key",
      ingressEndpoint: undefined,
    };
    await savePart(paths, identity, "certificate");
    expect(lstatSync(link).isSymbolicLink()).toBe(true);
    expect(readFileSync(target, "utf8")).toBe("renewed");
  });
});
