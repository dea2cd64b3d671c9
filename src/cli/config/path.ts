import { configPath } from "../../config/paths.ts";
import { command } from "../command.ts";

export default command({
  name: "config path",
  description: "Print where the configuration file is, or would be",
  examples: ["ngrokd config path"],
  async run({ config: file }, { env, say }) {
    const { path, origin } = configPath(file, env);
    say.result({ path, origin }, path);
    return 0;
  },
});
