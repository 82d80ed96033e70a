// Writes operations into a folder's journal: node journal-child.ts FOLDER OPERATION COUNT [hang]
// With "hang" it prints "hanging" and stays inside of the last one.
import { setTimeout as sleep } from "node:timers/promises";
import { openJournal } from "../../src/journal/journal.ts";

const [folder = "", operation = "", count = "0", hang] = process.argv.slice(2);
const journal = openJournal(folder, { secrets: [], warn: () => undefined });
for (let at = 1; at <= Number(count); at += 1) {
  const entry = await journal.begin(operation, { database: "nkudo", details: { at } });
  if (hang === "hang" && at === Number(count)) {
    console.log("hanging");
    await sleep(60_000);
  }
  await entry.done();
}
