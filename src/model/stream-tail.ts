/**
 * Whether a TLS stream was ended by its sender. A sender ends it with the alert
 * close_notify (RFC 8446, section 6.1); a FIN alone may be of anybody on the
 * way. No runtime tells the two apart, but the ciphertext does: an alert is a
 * short record of known length, and it is the last one. One object for each
 * connection, so it is small.
 */
export class StreamTail {
  /**
   * How many bytes of a possible alert are the last ones; -1 if the last bytes
   * were not seen.
   */
  private matched = unseen;
  private type = 0;
  private size = 0;
  private piece = 0;

  /**
   * The next bytes of the ciphertext, cut anywhere. Only the end of a long
   * piece is looked at.
   */
  take(bytes: Uint8Array): void {
    const { length } = bytes;
    this.piece = length;
    if (length >= longestAlert || this.matched === unseen) this.matched = 0;
    for (let i = Math.max(0, length - longestAlert); i < length; i++) this.step(bytes[i] ?? 0);
  }

  /**
   * The bytes of the latest piece contained data. With TLS 1.3 a record of two
   * bytes of data is as long as an alert. If nothing else is in the piece, it
   * is no alert.
   */
  heldData(): void {
    if (this.piece <= dataLikeAlert && this.matched === dataLikeAlert && this.type === data)
      this.matched = 0;
  }

  /** Some bytes were left out; the next piece has to be a long one. */
  forget(): void {
    this.matched = unseen;
  }

  /** False only if the stream is known to lack its alert. */
  get whole(): boolean {
    return this.matched === unseen || (this.matched > head && this.matched === this.size);
  }

  private step(byte: number): void {
    const { matched } = this;
    if (matched >= head && matched < this.size) this.matched = matched + 1;
    else if (matched >= head || !this.continues(byte))
      this.matched = byte === alert || byte === data ? 1 : 0;
    else this.matched = matched + 1;
    if (this.matched === 1) this.type = byte;
    else if (this.matched === head && matched === head - 1) this.size = head + byte;
  }

  /** Type, version 3.3, and length in two bytes. */
  private continues(byte: number): boolean {
    switch (this.matched) {
      case 1:
      case 2:
        return byte === 3;
      case 3:
        return byte === 0;
      case 4:
        return this.type === alert ? byte <= longestAlert - head : byte === dataLikeAlert - head;
      default:
        return false;
    }
  }
}

const unseen = -1;

/** Types of records. TLS 1.3 sends all of them as data. */
const [alert, data] = [21, 23];
const head = 5;
/**
 * An alert of TLS 1.3: two bytes, the type and the tag. One of TLS 1.2 has a
 * nonce too if the suite is AES-GCM.
 */
const dataLikeAlert = head + 2 + 1 + 16;
export const longestAlert = head + 8 + 2 + 16;
