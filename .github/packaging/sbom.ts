import { readFileSync } from "node:fs";
import { join } from "node:path";
import { homepage, root } from "./tree.ts";

/**
 * Prints the bill of materials of a release (CycloneDX 1.5): the packages of
 * the lock that are compiled in, and Bun. The same sources give the same bytes.
 * Arguments: version and time of the commit. npm can print such a bill, too; it
 * leaves out a package that a tool also needs (npm 11.19: yaml).
 */
const [version = "", time = ""] = process.argv.slice(2);

interface Locked {
  readonly version: string;
  readonly integrity?: string;
  readonly license?: string;
  readonly dev?: boolean;
  readonly devOptional?: boolean;
}

const read = (name: string) => JSON.parse(readFileSync(join(root, name), "utf8"));
const packages: Readonly<Record<string, Locked>> = read("package-lock.json").packages;
const folder = "node_modules/";

const components = Object.entries(packages)
  .filter(([path, { dev, devOptional }]) => path !== "" && dev !== true && devOptional !== true)
  .map(([path, { version, integrity, license }]) => {
    const name = path.slice(path.lastIndexOf(folder) + folder.length);
    const purl = `pkg:npm/${name.replace("@", "%40")}@${version}`;
    return {
      type: "library",
      "bom-ref": path.replaceAll(folder, ""),
      name,
      version,
      purl,
      ...(license !== undefined && { licenses: [{ expression: license }] }),
      ...(integrity?.startsWith("sha512-") && {
        hashes: [{ alg: "SHA-512", content: hexOf(integrity.slice("sha512-".length)) }],
      }),
    };
  });

const bun: string = read("package.json").devDependencies.bun;
const runtime = {
  type: "platform",
  "bom-ref": "bun",
  name: "bun",
  version: bun,
  purl: `pkg:github/oven-sh/bun@bun-v${bun}`,
  licenses: [{ expression: "MIT" }],
};

const bill = {
  $schema: "http://cyclonedx.org/schema/bom-1.5.schema.json",
  bomFormat: "CycloneDX",
  specVersion: "1.5",
  version: 1,
  metadata: {
    timestamp: new Date(Number(time) * 1000).toISOString(),
    component: {
      type: "application",
      "bom-ref": "ngrokd",
      name: "ngrokd",
      version,
      licenses: [{ expression: "MIT" }],
      externalReferences: [{ type: "vcs", url: homepage }],
    },
  },
  components: [runtime, ...components],
  dependencies: [
    {
      ref: "ngrokd",
      dependsOn: [runtime, ...components].map((component) => component["bom-ref"]),
    },
  ],
};
console.log(JSON.stringify(bill, undefined, 2));

function hexOf(base64: string): string {
  return Buffer.from(base64, "base64").toString("hex");
}
