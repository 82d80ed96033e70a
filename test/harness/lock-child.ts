// A run that holds a folder's lock: node lock-child.ts FOLDER OPERATION MILLISECONDS
// Prints "held" once it has it, and what a run is told that does not get it.
import { setTimeout as sleep } from "node:timers/promises";
import { withFolderLock } from "../../src/backup/folder-lock.ts";

const [folder = "", operation = "", milliseconds = "0"] = process.argv.slice(2);
try {
  const warn = (text: string) => console.log(`warning: ${text}`);
  await withFolderLock(folder, { operation, warn }, async () => {
    console.log("held");
    await sleep(Number(milliseconds));
  });
} catch (error) {
  if (!(error instanceof Error) || !("exitCode" in error)) throw error;
  console.log(`exit ${error.exitCode}: ${error.message}`);
}
