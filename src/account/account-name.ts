/** The account of a configuration that names no others. */
export const defaultAccount = "default";
