import manifest from "../package.json" with { type: "json" };

/** Set by `make build` with --define; from source there is none. */
declare const NGROKD_COMMIT: string | undefined;

/**
 * This program's version, `1.2.3`; package.json is the one place that has it.
 */
export const version: string = manifest.version;

/**
 * The git commit of the build, 12 hex digits, with `-dirty` if files had
 * changed.
 */
export const commit: string = typeof NGROKD_COMMIT === "string" ? NGROKD_COMMIT : "";

/**
 * What requests to ngrok's API carry: `ngrokd/1.2.3 (linux; x64)`. Source:
 * docs/protocol.md, "ngrok's API".
 */
export const userAgent = (): string => `ngrokd/${version} (${process.platform}; ${process.arch})`;
