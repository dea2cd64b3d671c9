import { installTrust, trustFolder } from "../ingress/trust.ts";
import { command } from "./command.ts";

export default command({
  name: "trust",
  description: "Trust ngrok's ingress CA, after checking its fingerprint",
  args: {
    source: { type: "positional", required: true, description: "A PEM file, or an https URL of one" },
    folder: { type: "string", valueHint: "folder", default: trustFolder, description: "Where trusted CAs are kept" },
    force: { type: "boolean", description: "Trust it although it is not the CA that ngrok has published" },
  },
  examples: ["ngrokd trust ngrok-ca.crt"],
  async run(args, io) {
    const installed = await installTrust({ source: args.source, folder: args.folder, force: args.force === true });
    io.say.result(installed, "");
    return undefined;
  },
});
