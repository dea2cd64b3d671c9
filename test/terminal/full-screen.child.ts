import { openFullScreen } from "../../src/terminal/full-screen.ts";

/** Draws on the whole terminal, and fails as no program should. */
const screen = openFullScreen(
  { feed: (text) => process.stdout.write(text), clean: (line) => line, columns: 80, rows: 24 },
  { onKey: () => undefined, onChange: () => undefined },
);
screen.draw(["drawn"]);
setTimeout(() => {
  throw new Error("a mistake");
}, 50);
