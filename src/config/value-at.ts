// Reads and writes values of a configuration by their paths, without the
// schema.

/** The value of one setting; undefined if it is missing. */
export function valueAt(config: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>(
    (value, name) => (isRecord(value) && Object.hasOwn(value, name) ? value[name] : undefined),
    config,
  );
}

/**
 * A copy of `root` with `value` at `path`. Anything along the path that is not
 * a map is replaced by a map.
 */
export function withValueAt(root: unknown, path: readonly string[], value: unknown): unknown {
  const [name, ...rest] = path;
  if (name === undefined) return value;
  return {
    ...(isRecord(root) ? root : {}),
    [name]: withValueAt(valueAt(root, [name]), rest, value),
  };
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
