/**
 * The operations' one-line summaries. They are apart from operations.ts since
 * `ngrokd --help` shows them and must not load the schemas.
 */
export const summaries = {
  status: "How the daemon is: registration, certificate, last poll",
  list: "The endpoints with their addresses and states",
  health: "Whether the daemon is healthy and ready, as an exit code too",
  refresh: "Poll ngrok now, and wait for the result",
  reload: "Read the configuration again, and take over what has changed",
  "refresh-cert": "Renew the client certificate where that is due",
  "set-api-key": "Try an ngrok API key and keep it",
} as const;
