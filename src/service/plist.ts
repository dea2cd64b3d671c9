import { marker, type ServiceFacts, stopReserveMs } from "./service-facts.ts";

/** The daemon's log; launchd has no journal. */
export const macLogPath = "/var/log/ngrokd.log";
export const macLabel = "com.ngrok.ngrokd";

/** Pure: the property list of the service (launchd.plist(5)). */
export function plistText(facts: ServiceFacts): string {
  const { program, serveArgs, environment, drainSeconds } = facts;
  const dictionary: Plist = {
    Label: macLabel,
    ProgramArguments: [program, "serve", ...serveArgs],
    ...(Object.keys(environment).length > 0 && { EnvironmentVariables: environment }),
    RunAtLoad: true,
    KeepAlive: { SuccessfulExit: false },
    ThrottleInterval: 10,
    ExitTimeOut: drainSeconds + stopReserveMs / 1000,
    SoftResourceLimits: { NumberOfFiles: 65_536 },
    HardResourceLimits: { NumberOfFiles: 65_536 },
    // A string, since property lists have decimal numbers only.
    Umask: "077",
    ProcessType: "Interactive",
    StandardOutPath: macLogPath,
    StandardErrorPath: macLogPath,
  };
  return `<?xml version="1.0" encoding="UTF-8"?>
<!-- ${marker}, which replaces it. -->
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
${element(dictionary, "")}
</plist>
`;
}

type Plist = string | number | boolean | readonly Plist[] | { readonly [key: string]: Plist };

function element(value: Plist, indent: string): string {
  const inner = `${indent}\t`;
  if (typeof value === "boolean") return `${indent}<${value}/>`;
  if (typeof value === "number") return `${indent}<integer>${value}</integer>`;
  if (typeof value === "string") return `${indent}<string>${escaped(value)}</string>`;
  if (isList(value))
    return [
      `${indent}<array>`,
      ...value.map((item) => element(item, inner)),
      `${indent}</array>`,
    ].join("\n");
  const entries = Object.entries(value).flatMap(([key, item]) => [
    `${inner}<key>${escaped(key)}</key>`,
    element(item, inner),
  ]);
  return [`${indent}<dict>`, ...entries, `${indent}</dict>`].join("\n");
}

const isList = (value: Plist): value is readonly Plist[] => Array.isArray(value);
const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
