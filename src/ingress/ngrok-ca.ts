/** ngrok's published CA, and the place where ngrok's programs keep it. */

/**
 * The folder in which ngrok's operator and the Go ngrokd keep ngrok's CA; every
 * PEM file in it is trusted. Source: docs/protocol.md, "The ingress".
 */
export const trustFolder = "/etc/ssl/certs/ngrok";

/**
 * ngrok's "Intermediate CA", which signs the ingress's certificate; no system
 * trusts it. Source: docs/protocol.md, "The ingress".
 */
export const ngrokCa = {
  fingerprint256:
    "CF:CE:8A:27:B7:4E:0C:51:C6:54:73:9A:35:3E:51:C1:35:26:0B:5B:97:7D:29:DF:67:03:8B:E7:EF:6F:F8:47",
  url: "https://raw.githubusercontent.com/ngrok/ngrok-operator/main/certs/ngrok-ca.crt",
} as const;
