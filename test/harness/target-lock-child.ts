// A run that holds a database's lock: node target-lock-child.ts URL DATABASE OPERATION
// Prints "held" once it has it, and keeps it until it is killed.
import { setTimeout as sleep } from "node:timers/promises";
import { withTargetLock } from "../../src/backup/target-lock.ts";

const [databaseUrl = "", database = "", operation = ""] = process.argv.slice(2);
await withTargetLock(
  { databaseUrl, applicationName: "pgtenant" },
  database,
  operation,
  async () => {
    console.log("held");
    await sleep(60_000);
  },
);
