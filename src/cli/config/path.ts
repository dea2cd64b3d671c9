import { configPath } from "../../config/paths.ts";
import { command } from "../command.ts";

export default command({
  name: "config path",
  description: "Print the path of the configuration file, even if there is no file",
  examples: ["ngrokd config path"],
  async run({ config: file }, { env, say }) {
    const { path, origin } = configPath(file, env);
    say.result({ path, origin }, path);
    return 0;
  },
});
