/**
 * The operations' one-line summaries. They are apart from operations.ts since
 * `ngrokd --help` shows them and must not load the schemas.
 */
export const summaries = {
  status: "Show the daemon's state: registration, certificate, last poll",
  list: "List the endpoints with their addresses and states",
  health: "Show whether the daemon is healthy and ready; also as exit code",
  connections: "Show the last connections, each with its steps and its end",
  traffic: "Show the traffic of the last 15 minutes",
  events: "Show what has happened: endpoints, connections, polls, warnings",
  exchanges: "Show the last HTTP requests of inspected endpoints",
  doctor: "Check everything, and show how to fix each problem",
  replay: "Send a request again that was kept with its body",
  dashboard: "Print a link to the dashboard, which works once",
  refresh: "Poll ngrok now, and wait for the result",
  reload: "Read the configuration again, and apply the changes",
  upgrade: "Go on with a new program; no connection is refused or lost",
  pause: "Take an endpoint's name away from this machine for a while",
  resume: "Serve a paused name again",
  "refresh-cert": "Renew the client certificate if it is due",
  "set-api-key": "Check an ngrok API key and save it",
} as const;
