// In the binary alone: the Makefile makes these files from src/dashboard/.

import script from "../../dist/dashboard/script.txt";
import style from "../../dist/dashboard/style.txt";

export { script, style };
