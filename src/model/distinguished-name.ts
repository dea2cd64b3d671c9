/**
 * A certificate's name as one line, `CN=x, O=y`, from what the runtime has a
 * line for each part of; empty where there is none.
 */
export const distinguishedName = (lines: string | undefined): string =>
  (lines ?? "").trim().split("\n").join(", ");
