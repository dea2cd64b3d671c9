import { expect, test } from "bun:test";
import { createPlaces } from "../../src/net/places.ts";

/** Enters guests by name, and keeps the names of those that were dismissed. */
function party(most: number) {
  const places = createPlaces(most);
  const dismissed: string[] = [];
  return { places, dismissed, enter: (name: string) => places.enter(() => dismissed.push(name)) };
}

test("the guest that has rested for the longest time gives way", () => {
  const { dismissed, enter } = party(3);
  const first = enter("first");
  enter("second");
  enter("third");
  first?.rest();
  enter("fourth");
  enter("fifth");
  expect(dismissed).toEqual(["second", "third"]);
});

test("a working guest does not give way, and if all work, no other gets in", () => {
  const { dismissed, enter } = party(2);
  const first = enter("first");
  first?.work();
  enter("second");
  const third = enter("third");
  expect(dismissed).toEqual(["second"]);
  third?.work();
  expect(enter("fourth")).toBeUndefined();
  first?.rest();
  expect(enter("fifth")).toBeDefined();
  expect(dismissed).toEqual(["second", "first"]);
});

test("a place that was left is free, and a guest that is gone takes none again", () => {
  const { dismissed, enter } = party(1);
  const first = enter("first");
  first?.leave();
  first?.leave();
  first?.rest();
  first?.work();
  enter("second");
  expect(dismissed).toEqual([]);
});

test("clear() dismisses all, and a dismissal may leave", () => {
  const { places, dismissed, enter } = party(3);
  const first = enter("first");
  enter("second");
  first?.work();
  places.clear();
  places.clear();
  expect(dismissed.toSorted()).toEqual(["first", "second"]);
});
