import { readFileSync } from "node:fs";
import { homepage, summary } from "./tree.ts";

/**
 * Prints the Homebrew formula of a release, for a tap. Arguments: the version,
 * and the SHA256SUMS of its archives. It was never run by Homebrew.
 */
const [version = "", sums = ""] = process.argv.slice(2);
const sumOf = new Map(
  readFileSync(sums, "utf8")
    .trim()
    .split("\n")
    .map((line) => line.split(/\s+\*?/, 2).toReversed() as [string, string]),
);

const archive = (target: string): string => `ngrokd-${version}-${target}.tar.gz`;
const source = (
  target: string,
): string => `      url "${homepage}/releases/download/v${version}/${archive(target)}"
      sha256 "${sumOf.get(archive(target))}"`;
const system = (name: string, os: string): string =>
  ["arm64", "x64"].every((cpu) => sumOf.has(archive(`${os}-${cpu}`)))
    ? `  on_${name} do
    on_arm do
${source(`${os}-arm64`)}
    end
    on_intel do
${source(`${os}-x64`)}
    end
  end
`
    : "";

console.log(`# Homebrew must not strip or sign the program again: a stripped one is a bare Bun.
class Ngrokd < Formula
  desc "${summary[0]?.toUpperCase()}${summary.slice(1)}"
  homepage "${homepage}"
  version "${version}"
  license "MIT"

${system("macos", "darwin")}${system("linux", "linux")}
  def install
    bin.install "ngrokd"
  end

  def caveats
    <<~EOS
      Run it as a service of the system, which needs root:
        sudo install -m 0755 #{opt_bin}/ngrokd /usr/local/bin/ngrokd
        sudo /usr/local/bin/ngrokd setup
    EOS
  end

  test do
    assert_match version.to_s, shell_output("#{bin}/ngrokd --version")
  end
end`);
