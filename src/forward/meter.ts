/** What one binding has carried since it was raised. Counters only grow, `active` goes back to zero. */
export interface Meter {
  active: number;
  total: number;
  /** Client to endpoint, bytes. */
  bytesUp: number;
  /** Endpoint to client, bytes. */
  bytesDown: number;
  /** Connections that the ingress said no to. */
  refused: number;
  /** Connections that ended by a failure: dial, TLS, header, deadline, reset. */
  errors: number;
  /** Milliseconds since the epoch, 0 before the first connection. */
  lastActivity: number;
  /** The latest refusal or failure before a byte was carried; empty once a later connection works. */
  lastError: string;
}

export const createMeter = (): Meter => ({
  active: 0,
  total: 0,
  bytesUp: 0,
  bytesDown: 0,
  refused: 0,
  errors: 0,
  lastActivity: 0,
  lastError: "",
});
