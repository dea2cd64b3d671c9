import fc from "fast-check";

/**
 * Any text that a JavaScript string can be, control characters and half
 * surrogate pairs included. fast-check's own "binary" takes seconds to set up.
 */
export const anyText = fc.string({ unit: fc.nat(0xffff).map((n) => String.fromCharCode(n)) });
