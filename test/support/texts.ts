import fc from "fast-check";

/**
 * Any JavaScript string, with control characters and lone surrogates.
 * fast-check's own "binary" takes seconds to set up.
 */
export const anyText = fc.string({ unit: fc.nat(0xffff).map((n) => String.fromCharCode(n)) });
