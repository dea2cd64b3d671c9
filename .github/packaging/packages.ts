import { makeDeb } from "./deb.ts";
import { makeImage } from "./image.ts";
import { makeRpm } from "./rpm.ts";
import { type Cpu, processors, type Release } from "./tree.ts";

/**
 * The entry of `make packages`: the Debian packages, the RPMs and the image of
 * the archives in the folder. Arguments: version, time of the commit, folder,
 * and the processors.
 */
// As on every machine, so that every machine makes the same bytes.
process.umask(0o022);
const [version = "", time = "", dist = "", ...words] = process.argv.slice(2);
const release: Release = { version, time: Number(time), dist };
const cpus = words.filter((word): word is Cpu => Object.hasOwn(processors, word));
for (const cpu of cpus) console.log(`${makeDeb(release, cpu)}\n${makeRpm(release, cpu)}`);
console.log(makeImage(release, cpus));
