import { readFileSync } from "node:fs";

/** package.json lies one level above both `src/` and `dist/`. */
const manifest = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
  readonly version: string;
};

export const toolVersion: string = manifest.version;
