import { configPath } from "../../config/paths.ts";
import { createConfig } from "../../config/write.ts";
import { NgrokdError } from "../../model/error.ts";
import { command } from "../command.ts";

export default command({
  name: "config init",
  description:
    "Write a configuration file with every setting explained; never over an existing one",
  examples: ["sudo ngrokd config init", "ngrokd config init --config ./config.yml"],
  async run({ config: file }, { env, say }) {
    const { path } = configPath(file, env);
    if (!(await createConfig(path))) {
      const hint = "`ngrokd config edit` changes it; to write a new one, rename this file first";
      throw new NgrokdError("config", `Cannot write a new configuration to "${path}": it exists`, {
        hint,
      });
    }
    say.result({ path, created: true }, `Wrote "${path}".`);
    return 0;
  },
});
