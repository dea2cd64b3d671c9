import { createHash } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import {
  type Cpu,
  homepage,
  processors,
  type Release,
  root,
  run,
  summary,
  unpackProgram,
} from "./tree.ts";

/**
 * Makes the container image: an OCI layout in a tar file, with one image for
 * each processor behind one name. No engine is needed, and no base image: it
 * has the program, the C library, and the folders of its user. Returns its
 * path.
 */
export function makeImage(release: Release, cpus: readonly Cpu[]): string {
  const work = join(release.dist, "image");
  rmSync(work, { recursive: true, force: true });
  const layout = join(work, "layout");
  mkdirSync(join(layout, "blobs/sha256"), { recursive: true });
  const images = cpus.map((cpu) => imageOf(release, cpu, { work, layout }));
  const index = store(layout, "application/vnd.oci.image.index.v1+json", {
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.index.v1+json",
    manifests: images,
  });
  const annotations = { "org.opencontainers.image.ref.name": release.version };
  const top = { schemaVersion: 2, manifests: [{ ...index, annotations }] };
  writeFileSync(join(layout, "index.json"), JSON.stringify(top));
  writeFileSync(join(layout, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
  const file = join(release.dist, `ngrokd-${release.version}-image.tar`);
  writeFileSync(file, tar(release, layout));
  rmSync(work, { recursive: true });
  return file;
}

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
}

interface Place {
  readonly work: string;
  readonly layout: string;
}

/** Not root: it may do what the folders of its state need, and no more. */
const user = 65532;

/** As in the unit, where the daemon is root and owns the hosts file. */
const settings = {
  User: `${user}:${user}`,
  Entrypoint: ["/usr/bin/ngrokd"],
  Cmd: ["serve"],
  WorkingDir: "/etc/ngrokd",
  Env: [
    "PATH=/usr/bin",
    "NGROKD_SOCKET=/run/ngrokd/ngrokd.sock",
    "NGROKD_HOSTS_PATH=/etc/ngrokd/hosts",
  ],
  Volumes: { "/etc/ngrokd": {} },
  StopSignal: "SIGTERM",
  // Docker and its relatives read this; the OCI's own format has no such thing.
  Healthcheck: {
    Test: ["CMD", "/usr/bin/ngrokd", "health"],
    Interval: 30e9,
    Timeout: 10e9,
    StartPeriod: 30e9,
  },
};

function imageOf(release: Release, cpu: Cpu, { work, layout }: Place): object {
  const platform = { architecture: processors[cpu].oci, os: "linux" };
  const at = (name: string): string => join(work, `${cpu}-${name}`);
  layOutLibrary(cpu, at("library"));
  layOutFolders(at("folders"));
  chmodSync(unpackProgram(release, cpu, join(at("program"), "usr/bin")), 0o755);
  const layers = [
    tar(release, at("library")),
    // Their parents stay root's.
    tar(release, at("folders"), { owner: user, members: Object.keys(folders) }),
    tar(release, at("program")),
  ];
  const created = new Date(release.time * 1000).toISOString();
  const labels = {
    "org.opencontainers.image.title": "ngrokd",
    "org.opencontainers.image.description": summary,
    "org.opencontainers.image.source": homepage,
    "org.opencontainers.image.licenses": "MIT",
    "org.opencontainers.image.version": release.version,
  };
  const config = store(layout, "application/vnd.oci.image.config.v1+json", {
    created,
    ...platform,
    config: { ...settings, Labels: labels },
    rootfs: { type: "layers", diff_ids: layers.map(digestOf) },
    history: layers.map(() => ({ created, created_by: "make packages" })),
  });
  const manifest = store(layout, "application/vnd.oci.image.manifest.v1+json", {
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config,
    layers: layers.map((layer) =>
      store(layout, "application/vnd.oci.image.layer.v1.tar+gzip", gzipSync(layer)),
    ),
    annotations: labels,
  });
  return { ...manifest, platform };
}

const loaders: Readonly<Record<Cpu, string>> = {
  x64: "lib64/ld-linux-x86-64.so.2",
  arm64: "lib/ld-linux-aarch64.so.1",
};
const libraries = "libc.so.6 libm.so.6 libpthread.so.0 libdl.so.2 librt.so.1 libresolv.so.2";

/** The C library of this system, or of its package for a foreign processor. */
function layOutLibrary(cpu: Cpu, folder: string): void {
  const { triplet, deb } = processors[cpu];
  const places = [`/usr/${triplet}/lib`, `/lib/${triplet}`];
  const from = places.find((place) => existsSync(join(place, "libc.so.6")));
  if (from === undefined)
    throw new Error(
      `no C library for ${cpu} in ${places.join(" or ")}: install libc6-${deb}-cross`,
    );
  const copy = (source: string, target: string): void => {
    mkdirSync(dirname(join(folder, target)), { recursive: true });
    copyFileSync(realpathSync(source), join(folder, target));
    chmodSync(join(folder, target), 0o755);
  };
  for (const name of libraries.split(" ")) copy(join(from, name), `lib/${triplet}/${name}`);
  const loader = loaders[cpu];
  copy(join(from, loader.slice(loader.lastIndexOf("/") + 1)), loader);
  const texts = {
    "etc/passwd": `root:x:0:0:root:/root:/\nngrokd:x:${user}:${user}:ngrokd:/etc/ngrokd:/\n`,
    "etc/group": `root:x:0:\nngrokd:x:${user}:\n`,
    "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "usr/share/doc/ngrokd/copyright": readFileSync(join(root, "LICENSE"), "utf8"),
  };
  for (const [path, text] of Object.entries(texts)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  const notice = ["libc6", `libc6-${deb}-cross`]
    .map((name) => `/usr/share/doc/${name}/copyright`)
    .find((path) => existsSync(path));
  if (notice !== undefined) {
    mkdirSync(join(folder, "usr/share/doc/libc6"), { recursive: true });
    copyFileSync(notice, join(folder, "usr/share/doc/libc6/copyright"));
  }
  for (const name of ["tmp", "run", "etc/ssl/certs"])
    mkdirSync(join(folder, name), { recursive: true });
  chmodSync(join(folder, "tmp"), 0o1777);
}

/** The folders that the daemon writes, with their modes. */
const folders = { "etc/ngrokd": 0o700, "run/ngrokd": 0o755, "etc/ssl/certs/ngrok": 0o755 };

function layOutFolders(folder: string): void {
  for (const [path, mode] of Object.entries(folders)) {
    mkdirSync(join(folder, path), { recursive: true });
    chmodSync(join(folder, path), mode);
  }
  writeFileSync(join(folder, "etc/ngrokd/hosts"), "127.0.0.1\tlocalhost\n::1\tlocalhost\n");
}

/** The same bytes for the same files: order, times and owners are fixed. */
function tar(
  { dist, time }: Release,
  folder: string,
  { owner = 0, members = readdirSync(folder) } = {},
): Buffer {
  const file = join(dist, "image.tar");
  const fixed = ["--sort=name", `--mtime=@${time}`, `--owner=${owner}`, `--group=${owner}`];
  const words = [
    "--format=ustar",
    "--numeric-owner",
    ...fixed,
    "-C",
    folder,
    "-cf",
    file,
    ...members,
  ];
  run("tar", words);
  const bytes = readFileSync(file);
  rmSync(file);
  return bytes;
}

const digestOf = (bytes: Uint8Array): string =>
  `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

/** Writes a blob of the layout. */
function store(layout: string, mediaType: string, content: object): Descriptor {
  const bytes = content instanceof Uint8Array ? content : Buffer.from(JSON.stringify(content));
  const digest = digestOf(bytes);
  writeFileSync(join(layout, "blobs/sha256", digest.slice("sha256:".length)), bytes);
  return { mediaType, digest, size: bytes.length };
}
