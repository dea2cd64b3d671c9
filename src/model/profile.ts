/** The profile of the settings that are in no other one. */
export const defaultProfile = "default";
