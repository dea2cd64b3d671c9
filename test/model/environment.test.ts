import { describe, expect, test } from "bun:test";
import {
  cleanEnvironment,
  leftOutIn,
  trustedVariables,
  withThreads,
} from "../../src/model/environment.ts";

describe("cleanEnvironment", () => {
  test.each([
    "BUN_OPTIONS",
    "BUN_INSPECT",
    "BUN_INSPECT_PRELOAD",
    "BUN_CONFIG_VERBOSE_FETCH",
    "BUN_BYTECODE_ORDER_OUT",
    "BUN_JSC_useJIT",
    "JSC_useJIT",
    "MIMALLOC_VERBOSE",
    "NODE_TLS_REJECT_UNAUTHORIZED",
    "NODE_DEBUG",
    "NODE_USE_SYSTEM_CA",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "SSLKEYLOGFILE",
  ])("leaves %s out, and says so to the next process", (name) => {
    expect(cleanEnvironment({ PATH: "/bin", [name]: "x" })).toEqual({
      PATH: "/bin",
      NGROKD_LEFT_OUT: name,
    });
  });

  test.each(["NODE_EXTRA_CA_CERTS", "NODE_ENV", "BUN_INSTALL", "NGROKD_SOCKET", "HTTPS_PROXY"])(
    "keeps %s",
    (name) => expect(cleanEnvironment({ PATH: "/bin", [name]: "x" })).toBeUndefined(),
  );

  test("names all that it left out, and no value of theirs", () => {
    const clean = cleanEnvironment({ BUN_OPTIONS: "secret", SSL_CERT_DIR: "/x", A: undefined });
    expect(clean).toEqual({ NGROKD_LEFT_OUT: "BUN_OPTIONS SSL_CERT_DIR" });
    expect(leftOutIn(clean ?? {})).toEqual(["BUN_OPTIONS", "SSL_CERT_DIR"]);
    expect(cleanEnvironment(clean ?? {})).toBeUndefined();
  });

  test("takes an empty variable for one that is there, as the runtime does", () => {
    expect(cleanEnvironment({ BUN_INSPECT: "" })).toEqual({ NGROKD_LEFT_OUT: "BUN_INSPECT" });
  });
});

describe("leftOutIn", () => {
  test("shows no text that another program has written there", () => {
    expect(leftOutIn({ NGROKD_LEFT_OUT: "BUN_OPTIONS \u001b[2J <x> A=b" })).toEqual([
      "BUN_OPTIONS",
    ]);
    expect(leftOutIn({})).toEqual([]);
  });
});

describe("trustedVariables", () => {
  test("are those that are set and change the code that runs or the trusted CAs", () => {
    expect(
      trustedVariables({ LD_PRELOAD: "/x.so", LD_AUDIT: "", NODE_EXTRA_CA_CERTS: "/ca" }),
    ).toEqual(["LD_PRELOAD", "NODE_EXTRA_CA_CERTS"]);
    expect(trustedVariables({ PATH: "/bin" })).toEqual([]);
  });
});

test("more threads are asked for unless the user has set their number", () => {
  expect(withThreads({ PATH: "/bin" })).toEqual({ PATH: "/bin", UV_THREADPOOL_SIZE: "32" });
  expect(withThreads({ UV_THREADPOOL_SIZE: "4" })).toBeUndefined();
});
