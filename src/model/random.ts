/**
 * That many random bytes, as lower-case hexadecimal digits. They are good for
 * secrets, too. node:crypto has the same, but loading it takes a tenth of the
 * time of a short command.
 */
export const randomHex = (bytes: number): string =>
  Buffer.from(crypto.getRandomValues(new Uint8Array(bytes))).toString("hex");
