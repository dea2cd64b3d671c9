import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";

export interface Column<T> {
  readonly name: string;
  /** A class of the style; it also sets the width. */
  readonly kind: string;
  readonly cell: (row: T) => ComponentChildren;
  /** Without it, the column does not sort. */
  readonly by?: (row: T) => string | number;
}

export interface Order {
  readonly column: string;
  readonly isDown: boolean;
}

interface RowsProps<T> {
  readonly id: string;
  readonly label: string;
  readonly columns: readonly Column<T>[];
  readonly rows: readonly T[];
  readonly keyOf: (row: T) => string;
  readonly chosen: string | undefined;
  readonly choose: (key: string | undefined) => void;
  readonly order?: Order | undefined;
  readonly setOrder?: (order: Order) => void;
  /** What is there without rows. */
  readonly empty: string;
}

const rowHeight = 34;
const spare = 8;

/** A table of any length, of which only the rows in sight exist. */
export function Rows<T>(props: RowsProps<T>) {
  const { id, label, columns, rows, keyOf, chosen, choose, order, setOrder, empty } = props;
  const view = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(400);
  useLayoutEffect(() => {
    const div = view.current;
    if (div === null) return;
    const sizes = new ResizeObserver(() => setHeight(div.clientHeight));
    sizes.observe(div);
    return () => sizes.disconnect();
  }, []);
  const first = Math.max(0, Math.floor(top / rowHeight) - spare);
  const last = Math.min(rows.length, Math.ceil((top + height) / rowHeight) + spare);
  const at = rows.findIndex((row) => keyOf(row) === chosen);

  const go = (to: number): void => {
    const row = rows[Math.min(rows.length - 1, Math.max(0, to))];
    if (row === undefined) return;
    choose(keyOf(row));
    const div = view.current;
    const y = rows.indexOf(row) * rowHeight;
    if (div === null) return;
    if (y < div.scrollTop) div.scrollTop = y;
    const room = div.clientHeight - 2 * rowHeight;
    if (y > div.scrollTop + room) div.scrollTop = y - room;
  };
  const onKeyDown = (event: KeyboardEvent): void => {
    const page = Math.max(1, Math.floor(height / rowHeight) - 2);
    const steps: Readonly<Record<string, () => void>> = {
      ArrowDown: () => go(at + 1),
      ArrowUp: () => go(at < 0 ? 0 : at - 1),
      PageDown: () => go(at + page),
      PageUp: () => go(at - page),
      Home: () => go(0),
      End: () => go(rows.length - 1),
      Escape: () => choose(undefined),
    };
    const step = steps[event.key];
    if (step === undefined || event.target !== view.current) return;
    event.preventDefault();
    step();
  };

  return (
    // biome-ignore lint/a11y/useSemanticElements: rows out of sight do not exist
    <div
      class={`rows ${id}`}
      id={id}
      ref={view}
      role="grid"
      tabIndex={0}
      aria-label={label}
      aria-rowcount={rows.length + 1}
      aria-activedescendant={at >= first && at < last ? `${id}-${at}` : undefined}
      onScroll={({ currentTarget }) => setTop(currentTarget.scrollTop)}
      onKeyDown={onKeyDown}
    >
      <Head columns={columns} order={order} setOrder={setOrder} />
      {rows.length === 0 && <p class="empty">{empty}</p>}
      {/* biome-ignore lint/a11y/useSemanticElements: see above */}
      <div class="space" role="rowgroup" style={{ height: `${rows.length * rowHeight}px` }}>
        {rows.slice(first, last).map((row, i) => (
          <Line key={keyOf(row)} {...props} row={row} at={first + i} isChosen={first + i === at} />
        ))}
      </div>
    </div>
  );
}

type LineProps<T> = Pick<RowsProps<T>, "id" | "columns" | "keyOf" | "choose"> & {
  readonly row: T;
  readonly at: number;
  readonly isChosen: boolean;
};

function Line<T>({ id, columns, keyOf, choose, row, at, isChosen }: LineProps<T>) {
  return (
    // biome-ignore lint/a11y/useFocusableInteractive: the grid has the focus
    // biome-ignore lint/a11y/useKeyWithClickEvents: the grid has the keys
    // biome-ignore lint/a11y/useSemanticElements: rows out of sight do not exist
    <div
      class="row"
      id={`${id}-${at}`}
      role="row"
      aria-rowindex={at + 2}
      aria-selected={isChosen}
      style={{ top: `${at * rowHeight}px` }}
      onClick={() => choose(isChosen ? undefined : keyOf(row))}
    >
      {columns.map(({ name, kind, cell }) => (
        // biome-ignore lint/a11y/useFocusableInteractive: the grid has the focus
        // biome-ignore lint/a11y/useSemanticElements: see above
        <span class={`cell ${kind}`} role="gridcell" key={name}>
          {cell(row)}
        </span>
      ))}
    </div>
  );
}

type HeadProps<T> = Pick<RowsProps<T>, "columns" | "order" | "setOrder">;

function Head<T>({ columns, order, setOrder }: HeadProps<T>) {
  const sortOf = (name: string): "none" | "ascending" | "descending" =>
    order?.column !== name ? "none" : order.isDown ? "descending" : "ascending";
  return (
    // biome-ignore lint/a11y/useFocusableInteractive: its buttons have the focus
    // biome-ignore lint/a11y/useSemanticElements: see above
    <div class="row head" role="row" aria-rowindex={1}>
      {columns.map(({ name, kind, by }) => (
        // biome-ignore lint/a11y/useFocusableInteractive: its button has the focus
        // biome-ignore lint/a11y/useSemanticElements: see above
        <span class={`cell ${kind}`} role="columnheader" key={name} aria-sort={sortOf(name)}>
          {by === undefined || setOrder === undefined ? (
            name
          ) : (
            <button
              type="button"
              onClick={() =>
                setOrder({ column: name, isDown: order?.column === name && !order.isDown })
              }
            >
              {name}
            </button>
          )}
        </span>
      ))}
    </div>
  );
}

/** Pure. */
export function sorted<T>(
  rows: readonly T[],
  columns: readonly Column<T>[],
  { column, isDown }: Order,
): readonly T[] {
  const by = columns.find(({ name }) => name === column)?.by;
  if (by === undefined) return rows;
  const sign = isDown ? -1 : 1;
  const order = (a: string | number, b: string | number): number =>
    typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
  return [...rows].sort((a, b) => sign * order(by(a), by(b)));
}
