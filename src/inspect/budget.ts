/** Bytes that all readers together may hold. Thousands may read at a time. */
export interface Budget {
  /** Returns false, and takes nothing, if there is not so much left. */
  take(bytes: number): boolean;
  give(bytes: number): void;
}

export function createBudget(bytes: number): Budget {
  let left = bytes;
  return {
    take(wanted) {
      if (wanted > left) return false;
      left -= wanted;
      return true;
    },
    give(back) {
      left += back;
    },
  };
}
