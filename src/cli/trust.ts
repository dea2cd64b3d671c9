import { type InstalledCa, installTrust, trustFolder } from "../ingress/trust.ts";
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
    io.say.result(installed, () => installed.map(installedText).join("\n"));
    return undefined;
  },
});

const installedText = ({ path, subject, fingerprint256, published }: InstalledCa): string =>
  published
    ? `Trusted: ngrok's ingress CA (${subject}), its SHA-256 is the published one. It is in ${path}; a running daemon uses it from its next poll on.`
    : `Trusted: ${subject}, which is NOT ngrok's published CA. SHA-256 ${fingerprint256}. It is in ${path}; remove the file to take that back.`;
