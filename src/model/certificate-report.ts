/**
 * The result of a request to renew the client certificate; field names are
 * those of the control socket.
 */
export interface CertificateReport {
  readonly renewed: boolean;
  /** RFC 3339. */
  readonly not_after: string;
  /** With two decimals; negative after the end. */
  readonly days_left: number;
  /** A sentence for people. */
  readonly message: string;
}
