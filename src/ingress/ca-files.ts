/** The certificates of CA files: PEM text in, X.509 out. */
import { X509Certificate } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { NgrokdError } from "../model/error.ts";

/** A CA file has a few KB, a whole system's store some 300. */
export const sizeLimit = 4 * 1024 * 1024;

/** Never a device or a pipe, which would not end. */
export async function readSmallFile(path: string): Promise<string> {
  const info = await stat(path);
  if (!info.isFile()) throw new NgrokdError("state", `"${path}" is not a file`);
  if (info.size > sizeLimit)
    throw new NgrokdError(
      "state",
      `"${path}" has ${info.size} bytes, and no more than ${sizeLimit} are read`,
    );
  return readFile(path, "utf8");
}

/** Every certificate between PEM marks; other text (names, keys) is skipped. */
export function readCertificates(text: string): {
  certificates: X509Certificate[];
  broken: number;
} {
  const certificates: X509Certificate[] = [];
  let broken = 0;
  for (const part of text.split(/-----BEGIN (?:X509 )?CERTIFICATE-----/).slice(1)) {
    try {
      certificates.push(
        new X509Certificate(
          Buffer.from(part.slice(0, Math.max(part.indexOf("-----END"), 0)), "base64"),
        ),
      );
    } catch {
      broken += 1;
    }
  }
  return { certificates, broken };
}

/** One spelling for one certificate, so that equal ones are equal texts. */
export function pemOf(certificate: X509Certificate): string {
  const lines = certificate.raw.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}
