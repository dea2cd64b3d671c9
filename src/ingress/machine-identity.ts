/**
 * What the ingress may learn of this machine and its user, so that traffic
 * policies can tell them apart. Pure.
 */
import { createHmac } from "node:crypto";
import type { PodIdentity } from "./frame.ts";

/** The settings `identity`. */
export interface IdentitySettings {
  readonly send: boolean;
  readonly annotations: Readonly<Record<string, string>>;
  readonly user: boolean;
}

export interface MachineFacts {
  /** Empty if this machine has none. */
  readonly machineId: string;
  readonly hostname: string;
}

/** The annotation with the user. It cannot be configured. */
export const userAnnotation = "ngrok.com/user";

/**
 * The identity to send for a connection; undefined if none may be sent. `user`
 * is of the client, if it is known.
 */
export function machineIdentity(
  { send, annotations, user: tellsUser }: IdentitySettings,
  { machineId, hostname }: MachineFacts,
  user: string | undefined,
): PodIdentity | undefined {
  if (!send) return undefined;
  return {
    ...(machineId !== "" && { uid: machineUid(machineId) }),
    name: hostname,
    annotations: {
      ...annotations,
      ...(tellsUser && user !== undefined && { [userAnnotation]: user }),
    },
  };
}

/**
 * The id of a machine must not leave it, since other programs derive secrets
 * from it (machine-id(5)). A keyed hash of it is as stable, and has the form of
 * the uid of a pod.
 */
export function machineUid(machineId: string): string {
  const bytes = createHmac("sha256", machineId).update("ngrokd machine identity").digest();
  bytes[6] = ((bytes[6] ?? 0) & 0x0f) | 0x40;
  bytes[8] = ((bytes[8] ?? 0) & 0x3f) | 0x80;
  const hex = bytes.toString("hex", 0, 16);
  const parts = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20)];
  return [...parts, hex.slice(20)].join("-");
}
