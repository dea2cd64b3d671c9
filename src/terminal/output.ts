/** A descriptor that gets text. */
export interface Output {
  readonly write: (text: string) => void;
  /**
   * The same for a command that goes on: it ends the program once the reader
   * has gone (`| head -1`).
   */
  readonly feed?: (text: string) => void;
  readonly isTerminal: boolean;
  readonly columns: number | undefined;
  readonly rows?: number | undefined;
}
