import { readFileSync } from "node:fs";
import { join } from "node:path";
import { homepage, root, run } from "./tree.ts";

/**
 * Prints the bill of materials of a release (CycloneDX): the packages that are
 * compiled in, by npm, and Bun, which npm takes for a tool. The time, the
 * serial number and the name of the folder are left out, so that the same
 * sources give the same bytes. Arguments: version and time of the commit.
 */
const [version = "", time = ""] = process.argv.slice(2);

interface Component {
  readonly "bom-ref": string;
  readonly [field: string]: unknown;
}
interface Bill {
  readonly serialNumber?: string;
  readonly metadata: { readonly component: Component; readonly tools: readonly { name: string }[] };
  readonly components: readonly Component[];
  readonly dependencies: readonly { readonly ref: string; readonly dependsOn: readonly string[] }[];
}

const { devDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
const bun: Component = {
  "bom-ref": `bun@${devDependencies.bun}`,
  type: "platform",
  name: "bun",
  version: devDependencies.bun,
  scope: "required",
  purl: `pkg:github/oven-sh/bun@bun-v${devDependencies.bun}`,
  licenses: [{ license: { id: "MIT" } }],
};

const words = ["sbom", "--omit=dev", "--package-lock-only", "--sbom-format=cyclonedx"];
const { serialNumber: _, ...made }: Bill = JSON.parse(run("npm", words, { cwd: root }));
const own = `ngrokd@${version}`;
const component = {
  ...made.metadata.component,
  "bom-ref": own,
  type: "application",
  name: "ngrokd",
};
const externalReferences = [{ type: "vcs", url: homepage }];
const byRef = (one: { ref: string }, other: { ref: string }): number =>
  one.ref < other.ref ? -1 : 1;
const bill = {
  ...made,
  metadata: {
    ...made.metadata,
    timestamp: new Date(Number(time) * 1000).toISOString(),
    tools: made.metadata.tools.map(({ name }) => ({ vendor: "npm", name })),
    component: { ...component, externalReferences },
  },
  components: [bun, ...made.components].sort((one, other) =>
    byRef({ ref: one["bom-ref"] }, { ref: other["bom-ref"] }),
  ),
  dependencies: made.dependencies
    .map((one) =>
      one.ref === own ? { ...one, dependsOn: [bun["bom-ref"], ...one.dependsOn] } : one,
    )
    .concat({ ref: bun["bom-ref"], dependsOn: [] })
    .sort(byRef),
};
console.log(JSON.stringify(bill, undefined, 2));
