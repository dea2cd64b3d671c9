import { commit, version } from "../version.ts";
import { command } from "./command.ts";

export default command({
  name: "version",
  description: "Show the version",
  examples: ["ngrokd version", "ngrokd version --json"],
  async run(_args, { net, say }) {
    const { platform, arch } = process;
    const build = commit === "" ? "" : `; ${commit}`;
    say.result(
      { version, commit, runtime: net.runtime, platform, arch },
      `ngrokd ${version} (${platform}; ${arch}; ${net.runtime}${build})`,
    );
    return undefined;
  },
});
