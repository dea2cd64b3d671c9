/**
 * 4 or 6 for an address of that family, else 0. Loaded late: node:net takes a
 * sixth of the time of a short command, and few of them need it.
 */
export const isIP = (text: string): number => process.getBuiltinModule("node:net").isIP(text);
