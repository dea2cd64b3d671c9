import { describe, expect, test } from "bun:test";
import { ngrokCa } from "../../src/ingress/ngrok-ca.ts";
import { describeTlsFailure } from "../../src/ingress/tls-failure.ts";
import { NgrokdError } from "../../src/model/error.ts";

describe("describeTlsFailure", () => {
  const shown = (issuer: string) => ({
    subject: "CN=kubernetes-binding-ingress.ngrok.io",
    issuer,
    fingerprint256: "AB:CD",
  });
  const failed = (reason: string, certificate?: object, hint?: string) =>
    describeTlsFailure(
      new NgrokdError("tls", 'Cannot connect to "x:443": it is not trusted', {
        hint,
        details: { reason, certificate },
      }),
    );

  test("names subject, issuer and fingerprint, and how to trust ngrok's CA", () => {
    const error = failed(
      "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
      shown("CN=Intermediate CA, O=ngrok Inc"),
    );
    expect(error.message).toBe(
      'Cannot connect to "x:443": it is not trusted; the certificate shown is of "CN=kubernetes-binding-ingress.ngrok.io", issued by "CN=Intermediate CA, O=ngrok Inc", SHA-256 AB:CD',
    );
    expect(error.code).toBe("tls");
    expect(error.hint).toContain(`ngrokd trust ${ngrokCa.url}`);
    expect(error.details).toMatchObject({
      reason: "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
      certificate: { fingerprint256: "AB:CD" },
    });
  });

  test("suspects an intercepting proxy if another CA has signed", () => {
    expect(failed("SELF_SIGNED_CERT_IN_CHAIN", shown("CN=Corp Proxy CA")).hint).toContain(
      "does a proxy intercept TLS",
    );
    expect(failed("UNABLE_TO_VERIFY_LEAF_SIGNATURE", shown("CN=Corp Proxy CA")).hint).toContain(
      "server.ingress_ca",
    );
  });

  test.each([
    ["CERT_HAS_EXPIRED", "clock"],
    ["CERT_NOT_YET_VALID", "clock"],
    ["ERR_TLS_CERT_ALTNAME_INVALID", "ingressEndpoint"],
    ["TLSV1_ALERT_UNKNOWN_CA", "refresh-cert"],
    ["SSLV3_ALERT_CERTIFICATE_EXPIRED", "refresh-cert"],
    ["TLSV13_ALERT_CERTIFICATE_REQUIRED", "refresh-cert"],
  ])("has its own hint for %s", (reason, said) => {
    expect(failed(reason, shown("CN=x")).hint).toContain(said);
  });

  test("keeps a hint that is there, and makes none up", () => {
    expect(failed("UNABLE_TO_GET_ISSUER_CERT", shown("CN=x"), "mine").hint).toBe("mine");
    expect(failed("EPROTO", shown("CN=x")).hint).toBeUndefined();
    expect(failed("EPROTO").message).toBe('Cannot connect to "x:443": it is not trusted');
  });

  test("keeps the names of a certificate on one line", () => {
    expect(failed("SELF_SIGNED_CERT_IN_CHAIN", shown("CN=a\nforged: line")).message).not.toContain(
      "\n",
    );
  });
});
