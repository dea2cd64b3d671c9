import { summaries } from "../desk/summaries.ts";
import type { Command, Tree } from "./command.ts";

const from = (load: () => Promise<{ default: Command }>) => async (): Promise<Command> =>
  (await load()).default;

export const commands: Tree = {
  serve: { description: "Run the daemon in the foreground", of: from(() => import("./serve.ts")) },
  status: {
    description: summaries.status,
    of: from(() => import("./status.ts")),
  },
  list: {
    description: summaries.list,
    of: from(() => import("./list.ts")),
  },
  top: {
    description: "Watch endpoints, connections and traffic, with keys",
    of: from(() => import("./top.ts")),
  },
  connections: {
    description: summaries.connections,
    of: from(() => import("./connections.ts")),
  },
  http: {
    description: summaries.exchanges,
    of: from(() => import("./http.ts")),
  },
  tail: {
    description: "Show a line for each connection as it ends, until Ctrl-C",
    of: from(() => import("./tail.ts")),
  },
  traffic: { description: summaries.traffic, of: from(() => import("./traffic.ts")) },
  dashboard: { description: summaries.dashboard, of: from(() => import("./dashboard.ts")) },
  events: { description: summaries.events, of: from(() => import("./events.ts")) },
  mcp: {
    description: "Let an assistant ask the daemon, by MCP on stdin and stdout",
    of: from(() => import("./mcp.ts")),
  },
  health: {
    description: summaries.health,
    of: from(() => import("./health.ts")),
  },
  wait: {
    description: "Wait until the daemon is ready, or serves the given names",
    of: from(() => import("./wait.ts")),
  },
  doctor: {
    description: summaries.doctor,
    of: from(() => import("./doctor.ts")),
  },
  why: {
    description: "Follow one name to ngrok, and show which step fails",
    of: from(() => import("./why.ts")),
  },
  setup: {
    description: "Set up ngrokd: asks what is missing, shows the plan, and does it",
    of: from(() => import("./setup.ts")),
  },
  "set-api-key": {
    description: summaries["set-api-key"],
    of: from(() => import("./set-api-key.ts")),
  },
  "refresh-cert": {
    description: summaries["refresh-cert"],
    of: from(() => import("./refresh-cert.ts")),
  },
  operators: {
    description: "List the operators that ngrokd has made in your account",
    of: from(() => import("./operators.ts")),
  },
  unregister: {
    description: "Delete this machine's operator, key and certificate",
    of: from(() => import("./unregister.ts")),
  },
  refresh: {
    description: summaries.refresh,
    of: from(() => import("./refresh.ts")),
  },
  reload: {
    description: summaries.reload,
    of: from(() => import("./reload.ts")),
  },
  upgrade: { description: summaries.upgrade, of: from(() => import("./upgrade.ts")) },
  pause: { description: summaries.pause, of: from(() => import("./pause.ts")) },
  resume: { description: summaries.resume, of: from(() => import("./resume.ts")) },
  config: {
    description: "Check, show, edit or write the configuration",
    of: {
      check: {
        description: "Check a configuration file",
        of: from(() => import("./config/check.ts")),
      },
      show: {
        description: "Show the values in effect and their origins",
        of: from(() => import("./config/show.ts")),
      },
      edit: {
        description: "Edit the file; only a valid file is saved",
        of: from(() => import("./config/edit.ts")),
      },
      path: {
        description: "Print the path of the file",
        of: from(() => import("./config/path.ts")),
      },
      init: {
        description: "Write a file with every setting explained",
        of: from(() => import("./config/init.ts")),
      },
    },
  },
  trust: {
    description: "Trust ngrok's ingress CA, after checking its fingerprint",
    of: from(() => import("./trust.ts")),
  },
  service: {
    description: "Run ngrokd as a service of this system (systemd, launchd)",
    of: {
      install: {
        description: "Start ngrokd now and at every boot",
        of: from(() => import("./service/install.ts")),
      },
      uninstall: {
        description: "Stop and remove the service",
        of: from(() => import("./service/uninstall.ts")),
      },
      start: { description: "Start the service", of: from(() => import("./service/start.ts")) },
      stop: { description: "Stop the service", of: from(() => import("./service/stop.ts")) },
      restart: {
        description: "Restart the service",
        of: from(() => import("./service/restart.ts")),
      },
      status: {
        description: "Show whether the service runs, and whether it starts at boot",
        of: from(() => import("./service/status.ts")),
      },
      logs: {
        description: "Show the log of the service",
        of: from(() => import("./service/logs.ts")),
      },
    },
  },
  containers: {
    description: "Print options with which a container reaches the served names",
    of: from(() => import("./containers.ts")),
  },
  connect: {
    description: "Reach endpoints without root: a local port, a proxy, or stdio",
    of: from(() => import("./connect.ts")),
  },
  exec: {
    description: "Run a command that reaches endpoints by name, without root",
    of: from(() => import("./exec.ts")),
  },
  support: {
    description: "Write one archive for a report, without secrets",
    of: from(() => import("./support.ts")),
  },
  plan: {
    description: "Show the changes of the next poll, without making them",
    of: from(() => import("./plan.ts")),
  },
  undo: {
    description: "Undo ngrokd's changes on this machine",
    of: from(() => import("./undo.ts")),
  },
  cloud: {
    description: "Run a stand-in for ngrok on this machine, for tests",
    of: from(() => import("./cloud.ts")),
  },
  demo: {
    description: "Try ngrokd: no account, no root, nothing left behind",
    of: from(() => import("./demo.ts")),
  },
  completion: {
    description: "Print the script that completes ngrokd's words in a shell",
    of: async () => (await import("./completion.ts")).completion(commands),
  },
  version: { description: "Show the version", of: from(() => import("./version.ts")) },
};
