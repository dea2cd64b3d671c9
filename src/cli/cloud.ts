import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { stringify } from "yaml";
import { writeFileAtomic } from "../files/atomic.ts";
import { defaultApiKey, type LocalCloud, startLocalCloud } from "../local-cloud/cloud.ts";
import { parseFault } from "../local-cloud/faults.ts";
import type { EndpointSpec } from "../local-cloud/store.ts";
import { parseApiKey } from "../model/api-key.ts";
import { NgrokdError } from "../model/error.ts";
import { type Parsed, parsed, quote, unparsed } from "../model/parsed.ts";
import { facts, type Say } from "../terminal/say.ts";
import { aborted, command } from "./command.ts";
import { repeated } from "./flags.ts";
import { logTo } from "./log-to.ts";

export default command({
  name: "cloud",
  description: "Run a stand-in for ngrok on this machine, for tests",
  args: {
    "api-port": {
      type: "string",
      valueHint: "port",
      default: "4050",
      description: "Port of the API on 127.0.0.1; 0 is any free one",
    },
    "ingress-port": {
      type: "string",
      valueHint: "port",
      default: "4051",
      description: "Port of the ingress on 127.0.0.1; 0 is any free one",
    },
    endpoint: {
      type: "string",
      valueHint: "url=host:port",
      description: "An endpoint and the service behind it; may be repeated",
    },
    key: {
      type: "string",
      valueHint: "key",
      default: defaultApiKey,
      description: "The API key to accept",
    },
    "ca-file": {
      type: "string",
      valueHint: "file",
      description: "The file for the ingress's CA (default: a temporary file)",
    },
    "cert-lifetime": {
      type: "string",
      valueHint: "seconds",
      default: "7776000",
      description: "How long client certificates are valid",
    },
    fault: {
      type: "string",
      valueHint: "fault",
      description:
        "A fault, such as 429=2*3 or latency=200; may be repeated; /_cloud/faults lists all",
    },
  },
  examples: [
    "ngrokd cloud --endpoint http://hello.demo=127.0.0.1:3000 " +
      "--endpoint tcp://db.demo:5432=127.0.0.1:5432",
    "ngrokd cloud --json --api-port 0 --ingress-port 0 --ca-file ./ca.crt",
    "ngrokd cloud --cert-lifetime 60 --fault '429=2*3' --fault latency=200",
  ],
  async run(args, io, rawArgs) {
    const { stop } = io;
    const faults = repeated(rawArgs, "fault").map((text) => need("--fault", parseFault(text)));
    const certificateLifetimeMs =
      1000 * number("--cert-lifetime", args["cert-lifetime"], 1, 10 * 365 * 86_400);
    const options = {
      net: io.net,
      api: { host: "127.0.0.1", port: number("--api-port", args["api-port"], 0, 65535) },
      ingress: {
        host: "127.0.0.1",
        port: number("--ingress-port", args["ingress-port"], 0, 65535),
      },
      apiKeys: [need("--key", parseApiKey(args.key))],
      endpoints: repeated(rawArgs, "endpoint").flatMap((list) =>
        list.split(",").map((one) => need("--endpoint", parseEndpointFlag(one))),
      ),
      certificateLifetimeMs,
      log: logTo(io.say),
    };
    const temporary =
      args["ca-file"] === undefined ? await mkdtemp(join(tmpdir(), "ngrokd-cloud-")) : undefined;
    try {
      const caFile =
        temporary === undefined ? resolve(args["ca-file"] ?? "") : join(temporary, "ca.crt");
      const cloud = await startLocalCloud(options);
      try {
        for (const { fault, times } of faults) cloud.faults.set(fault, times);
        // The intermediate certificate, as ngrok publishes it.
        await writeFileAtomic(caFile, cloud.intermediatePem, { mode: 0o644 });
        const ready = {
          apiUrl: cloud.apiUrl,
          ingress: cloud.ingressAddress,
          apiKey: cloud.apiKey,
          caFile,
        };
        io.say.ready(ready, () => introduction(cloud, caFile, io.say));
        await aborted(stop);
      } finally {
        await cloud.close();
      }
    } finally {
      if (temporary !== undefined) await rm(temporary, { recursive: true, force: true });
    }
    return undefined;
  },
});

function introduction(cloud: LocalCloud, caFile: string, { paint }: Say): string {
  const { bold, dim } = paint;
  const config = {
    api: { url: cloud.apiUrl, key: cloud.apiKey },
    ingressEndpoint: cloud.ingressAddress,
    server: { ingress_ca: caFile },
  };
  const step = (text: string): string => `  ${dim("$")} ${text}`;
  const control = (path: string, json: string): string =>
    step(`curl ${cloud.apiUrl}/_cloud/${path} -H 'content-type: application/json' -d '${json}'`);
  const endpoints = cloud.endpoints().map(({ url, upstream }) => `  ${url} -> ${upstream}`);
  return [
    bold("A stand-in for ngrok runs on this machine. Its data is lost when it ends (Ctrl-C)."),
    facts(
      [
        ["API", cloud.apiUrl],
        ["API key", cloud.apiKey],
        ["Ingress", cloud.ingressAddress],
        ["Ingress CA", caFile],
      ],
      paint,
    ),
    ...(endpoints.length === 0 ? [] : ["", bold("Endpoints"), ...endpoints]),
    "",
    bold("A daemon uses it with this configuration:"),
    stringify(config).trimEnd().replaceAll(/^/gm, "  "),
    "",
    bold("To add an endpoint, or a fault:"),
    control("endpoints", '{"url": "http://more.demo", "upstream": "127.0.0.1:3000"}'),
    control("faults", '{"fault": "429=2*3"}'),
    step(
      `curl ${cloud.apiUrl}/_cloud/faults   ${dim("# the faults that are set, and all faults")}`,
    ),
  ].join("\n");
}

/** Parses `url=host:port`; the last `=` separates the parts. */
function parseEndpointFlag(text: string): Parsed<EndpointSpec> {
  const at = text.lastIndexOf("=");
  if (at < 1) return unparsed(`${quote(text)} is not url=host:port`);
  return parsed({ url: text.slice(0, at).trim(), upstream: text.slice(at + 1).trim() });
}

function number(flag: string, text: string, min: number, max: number): number {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  return need(
    flag,
    value >= min && value <= max
      ? parsed(value)
      : unparsed(`${quote(text)} is not a whole number from ${min} to ${max}`),
  );
}

function need<T>(flag: string, read: Parsed<T>): T {
  if (read.ok) return read.value;
  throw new NgrokdError("usage", `The flag ${flag} is wrong: ${read.reason}`, {
    hint: "`ngrokd cloud --help` shows examples",
  });
}
