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
  "28000":
    "the endpoint's traffic policy reads the identity of a Kubernetes pod, and ngrokd sends none: change that rule of the policy",
  "28001":
    "the endpoint's traffic policy wants the identity of a Kubernetes pod, and this machine has none: let the policy pass connections without it",
};
