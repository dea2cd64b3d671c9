/** The flags of all commands that install the service. */
export const serviceArgs = {
  "group-add": {
    type: "string",
    valueHint: "user",
    description: 'Let a user use the daemon without sudo, as a member of the group "ngrokd"',
  },
  "take-over": {
    type: "boolean",
    description: "Replace the service of the Go program named ngrokd; its unit is kept beside",
  },
} as const;
