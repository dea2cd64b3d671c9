/**
 * The name of a certificate on one line, `CN=x, O=y`. The runtime has one line
 * for each part. Empty if there is no name.
 */
export const distinguishedName = (lines: string | undefined): string =>
  (lines ?? "").trim().split("\n").join(", ");
