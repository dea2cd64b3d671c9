/**
 * One sentence of advice for the frequent refusals of ngrok's ingress;
 * undefined if the ingress's own message is enough. Source: ngrok's public
 * error reference.
 */
export function refusalAdvice(code: string): string | undefined {
  return advice[code.replace(/^ERR_NGROK_/, "")];
}

const advice: Readonly<Record<string, string>> = {
  "714":
    "the account has as many connections open as it may: close some, or see its limits in ngrok's dashboard",
  "715":
    "the account may open no more connections in this minute: wait one, or see its limits in ngrok's dashboard",
  "3200": "the endpoint is offline: start its agent, or delete it in ngrok's dashboard",
  "8012": "ngrok's agent cannot reach the service behind the endpoint: is the service running?",
  "19002": "Kubernetes bindings may not be enabled on this account: ask ngrok's support",
};
