// A run that holds a folder's lock: node lock-child.ts FOLDER OPERATION FILE
// Prints "held" once it has it and keeps it as long as the file is there, or prints what a run is
// told that does not get it.
import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { withFolderLock } from "../../src/backup/folder-lock.ts";

const [folder = "", operation = "", file = ""] = process.argv.slice(2);
try {
  const warn = (text: string) => console.log(`warning: ${text}`);
  await withFolderLock(folder, { operation, warn }, async () => {
    console.log("held");
    while (existsSync(file)) await sleep(20);
  });
} catch (error) {
  if (!(error instanceof Error) || !("exitCode" in error)) throw error;
  console.log(`exit ${error.exitCode}: ${error.message}`);
}
