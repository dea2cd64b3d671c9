import { describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  convertWorkflowTemplate,
  NoOperationTraceWriter,
  parseWorkflow,
} from "@actions/workflow-parser";
import { parse } from "yaml";
import { z } from "zod";

/** What a stranger meets first, .github/, is true to the repository. */
const root = join(import.meta.dirname, "..");
const textOf = (path: string): string => readFileSync(join(root, path), "utf8");
const folder = ".github/workflows";
const files = readdirSync(join(root, folder)).map((name) => `${folder}/${name}`);

const permissionsSchema = z.record(z.string(), z.enum(["read", "write", "none"]));
const stepSchema = z.strictObject({
  name: z.string().optional(),
  if: z.string().optional(),
  uses: z.string().optional(),
  with: z.record(z.string(), z.unknown()).optional(),
  run: z.string().optional(),
  env: z.record(z.string(), z.string()).optional(),
});
const workflowSchema = z.object({
  permissions: permissionsSchema,
  jobs: z.record(
    z.string(),
    z.object({
      "timeout-minutes": z.number(),
      permissions: permissionsSchema.optional(),
      steps: z.array(stepSchema),
    }),
  ),
});
const workflows = files.map((file) => ({ file, ...workflowSchema.parse(parse(textOf(file))) }));
const jobs = workflows.flatMap(({ file, jobs }) =>
  Object.entries(jobs).map(([name, job]) => ({ where: `${file}: ${name}`, ...job })),
);
const steps = jobs.flatMap(({ where, steps }) => steps.map((step) => ({ where, ...step })));
const scripts = steps.flatMap(({ where, run }) => (run === undefined ? [] : [{ where, run }]));

describe("the workflows", () => {
  test.each(files)("%s is right to GitHub's own parser", async (file) => {
    expect(await problemsOf(textOf(file))).toEqual([]);
  });

  test("that parser finds faults", async () => {
    const good = { "runs-on": "ubuntu-24.04", steps: [{ run: "true" }] };
    const problems = (jobs: object): Promise<string[]> =>
      problemsOf(JSON.stringify({ on: "push", jobs }));
    expect(await problems({ a: good })).toEqual([]);
    expect(await problems({ a: { ...good, needs: "b" } })).toHaveLength(1);
    expect(await problems({ a: { ...good, permissions: { contents: "all" } } })).toHaveLength(1);
    expect(await problems({ a: { ...good, steps: [{ rnu: "true" }] } })).not.toEqual([]);
    // biome-ignore lint/suspicious/noTemplateCurlyInString: an expression of GitHub's
    expect(await problems({ a: { ...good, name: "${{ matrix. }}" } })).toHaveLength(1);
  });

  test("may read the repository, and publishing alone may do more", () => {
    expect(workflows.map(({ permissions }) => permissions)).toEqual(
      files.map(() => ({ contents: "read" })),
    );
    const more = jobs.filter(({ permissions }) => permissions !== undefined);
    expect(more.map(({ where, permissions }) => ({ where, permissions }))).toEqual([
      {
        where: `${folder}/release.yml: publish`,
        permissions: { contents: "write", "id-token": "write", attestations: "write" },
      },
    ]);
  });

  test("use actions of a named version, and leave no token in the clone", () => {
    const used = steps.flatMap((step) => (step.uses === undefined ? [] : [step]));
    expect(used.length).toBeGreaterThan(5);
    const unpinned = used.filter(
      ({ uses = "" }) => !/^[\w-]+\/[\w-]+@(v\d+|[\da-f]{40})$/.test(uses),
    );
    expect(unpinned).toEqual([]);
    const clones = used.filter(({ uses = "" }) => uses.startsWith("actions/checkout@"));
    expect(clones.map((step) => step.with?.["persist-credentials"])).toEqual(
      clones.map(() => false),
    );
  });

  test("have scripts that a shell can read, and no foreign text in them", () => {
    expect(scripts.length).toBeGreaterThan(8);
    const unread = scripts.filter(
      ({ run }) => spawnSync("bash", ["-n"], { input: run }).status !== 0,
    );
    expect(unread).toEqual([]);
    // An expression in a script is text of others that becomes code.
    expect(scripts.filter(({ run }) => run.includes("${{"))).toEqual([]);
  });

  test("name only targets and files that there are", () => {
    expect(missingIn(scripts.map(({ run }) => run).join("\n"))).toEqual([]);
  });
});

test("portable stories import nothing that needs the stories' Linux machine", () => {
  const stories = readdirSync("test/portable").filter((name) => name.endsWith(".test.ts"));
  const imported = stories.flatMap((name) =>
    [...textOf(`test/portable/${name}`).matchAll(/ from "([^"]+)"/g)].map(([, from]) => from),
  );
  expect(stories.length).toBeGreaterThan(0);
  expect(imported.filter((from) => !/^(?:node:|bun:)/.test(from ?? ""))).toEqual([]);
});

/** Its scripts run on Linux, with the tools of that system. */
describe.skipIf(process.platform !== "linux")("the release", () => {
  const version: string = JSON.parse(textOf("package.json")).version;
  const scriptOf = (name: string): string =>
    steps.find((step) => step.name === name)?.run ?? `echo "there is no step ${name}"; exit 1`;

  test("publishes the names that install.sh reads", () => {
    const [, targets = ""] = /^TARGETS \?= (.*)$/m.exec(textOf("Makefile")) ?? [];
    const archives = targets.split(" ").map((target) => `ngrokd-${version}-${target}.tar.gz`);
    const summed = [...archives, `ngrokd-${version}.cdx.json`, `ngrokd_${version}_amd64.deb`];
    const beside = ["install.sh", "SHA256SUMS.minisig", "ngrokd.rb"];
    const { status, err, listing } = inScratch(
      scriptOf("Collect the files of the release"),
      (at) => {
        mkdirSync(join(at, "dist"));
        for (const name of [...summed, ...beside, "ngrokd"])
          writeFileSync(join(at, "dist", name), name);
        const sums = spawnSync("sh", ["-c", `sha256sum ${summed.join(" ")} > SHA256SUMS`], {
          cwd: join(at, "dist"),
        });
        expect(sums.status).toBe(0);
      },
    );
    expect({ status, err }).toEqual({ status: 0, err: "" });
    const expected = [...summed, ...beside, "SHA256SUMS"];
    expect(listing("release")).toEqual(expected.sort());

    const installer = textOf("install.sh");
    expect(installer).toContain("url=$url/download/v$wanted; else url=$url/latest/download");
    expect(installer).toContain('download "$url/SHA256SUMS"');
    // biome-ignore lint/suspicious/noTemplateCurlyInString: a variable of the shell's
    expect(installer).toContain("ngrokd-${wanted:-*}-$target.tar.gz)");
  });

  test("needs a tag that is the version, and a section of the changelog", () => {
    const check = scriptOf("The tag is the version of package.json");
    const notes = scriptOf("The changelog has a section for it");
    const prepare = (at: string): void => {
      mkdirSync(join(at, "docs"));
      copyFileSync(join(root, "package.json"), join(at, "package.json"));
      copyFileSync(join(root, "docs/CHANGELOG.md"), join(at, "docs/CHANGELOG.md"));
    };
    expect(inScratch(check, prepare, `v${version}`).status).toBe(0);
    expect(inScratch(check, prepare, "v0.0.1").status).not.toBe(0);
    const written = inScratch(notes, prepare, "v0.1.0");
    expect(written.status).toBe(0);
    expect(written.text("notes.txt")).toContain("The first version.");
    expect(written.text("notes.txt")).not.toMatch(/Unreleased|^\[/m);
    expect(inScratch(notes, prepare, "v99.0.0").status).not.toBe(0);
  });
});

describe("CONTRIBUTING and the templates", () => {
  test("name only targets and files that there are", () => {
    const pages = [".github/CONTRIBUTING.md", ".github/pull_request_template.md"];
    expect(missingIn(pages.map(textOf).join("\n"))).toEqual([]);
  });

  test("show a subject of a commit as it has to be", () => {
    const [, example = ""] =
      /such as `([^`]+)`/.exec(
        textOf(".github/CONTRIBUTING.md").split("## Commits and pull requests")[1] ?? "",
      ) ?? [];
    expect(example).toMatch(/^[a-z-]+: [a-z]+ .{1,60}$/);
    expect(readdirSync(join(root, "src"))).toContain(example.split(":")[0] ?? "");
  });

  test("ask in forms that GitHub can show", () => {
    const field = z.strictObject({
      type: z.enum(["markdown", "textarea", "input", "dropdown", "checkboxes"]),
      id: z.string().optional(),
      attributes: z.record(z.string(), z.unknown()),
      validations: z.strictObject({ required: z.boolean() }).optional(),
    });
    const form = z.strictObject({
      name: z.string(),
      description: z.string(),
      labels: z.array(z.string()),
      body: z.array(field).min(1),
    });
    const forms = ["bug", "feature"].map((name) =>
      form.parse(parse(textOf(`.github/ISSUE_TEMPLATE/${name}.yml`))),
    );
    for (const { body } of forms) {
      const ids = body.flatMap(({ id }) => (id === undefined ? [] : [id]));
      expect(new Set(ids).size).toBe(ids.length);
      expect(body.filter(({ type }) => type !== "markdown")).toHaveLength(ids.length);
    }
    expect(textOf(".github/ISSUE_TEMPLATE/bug.yml")).toContain("ngrokd version");
  });
});

/** Everything that GitHub's own parser complains of. */
async function problemsOf(content: string): Promise<string[]> {
  const { context, value } = parseWorkflow(
    { name: "workflow.yml", content },
    new NoOperationTraceWriter(),
  );
  const errors = context.errors.getErrors().map((error) => error.message);
  if (value === undefined || errors.length > 0) return errors;
  const template = await convertWorkflowTemplate(context, value);
  return (template.errors ?? []).map(({ Message }) => Message);
}

/** Targets of make, and files, that a text names and that are not there. */
function missingIn(text: string): string[] {
  const targets = new Set([...textOf("Makefile").matchAll(/^([a-z]+):.*##/gm)].map(([, t]) => t));
  const calls = [...text.matchAll(/(?:^|[`;&] *|run: |^ +)make ([a-z]+)/gm)].map(([, t]) => t);
  expect(calls.length).toBeGreaterThan(0);
  const paths = text.match(
    /(?<![\w/.@-])(?:src|test|docs|\.github|\.ci|node_modules\/\.bin)\/[\w./*-]*\w/g,
  );
  return [
    ...calls.filter((target) => !targets.has(target)).map((target) => `make ${target}`),
    ...(paths ?? []).filter((path) => !isThere(path.replace(/\/NAME\.ts$/, ""))),
  ];
}

const isThere = (path: string): boolean =>
  path.includes("*")
    ? [...new Bun.Glob(path).scanSync({ cwd: root })].length > 0
    : existsSync(join(root, path));

/** Runs a script as GitHub does, in a temporary folder. */
function inScratch(script: string, prepare: (at: string) => void, tag = "v0.1.0") {
  const at = mkdtempSync(join(tmpdir(), "ngrokd-release-"));
  try {
    prepare(at);
    const { status, stderr } = spawnSync("bash", ["-e", "-o", "pipefail", "-c", script], {
      cwd: at,
      env: { PATH: process.env.PATH ?? "", GITHUB_REF_NAME: tag },
      encoding: "utf8",
    });
    const texts = new Map(
      readdirSync(at, { recursive: true, encoding: "utf8", withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map(({ parentPath, name }) => join(parentPath, name))
        .map((path) => [path.slice(at.length + 1), readFileSync(path, "utf8")]),
    );
    const listing = (folder: string): string[] =>
      [...texts.keys()]
        .filter((path) => path.startsWith(`${folder}/`))
        .map((path) => path.slice(folder.length + 1))
        .sort();
    return { status, err: stderr, listing, text: (path: string) => texts.get(path) ?? "" };
  } finally {
    rmSync(at, { recursive: true, force: true });
  }
}
