// Writes the JSON Schemas of N-Kudo's rows from the fixtures, on a throwaway server:
//   npm run schemas              writes schemas/n-kudo/<version>/
//   npm run schemas -- --check   writes nothing, and exits 1 when a file is not current
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { Client } from "pg";
import { fastSettings, withThrowawayServer } from "../src/postgres/throwaway-server.ts";
import { nKudo } from "../src/profile/n-kudo.ts";
import { makeRowSchemas } from "./row-schemas.ts";

const folder = new URL(`../schemas/${nKudo.name}/${nKudo.version}/`, import.meta.url);
const checking = process.argv.includes("--check");

const made = await withThrowawayServer(
  { binDir: process.env.PGTENANT_PG_BIN, path: process.env.PATH, settings: fastSettings },
  async (server) =>
    makeRowSchemas({
      complete: await load(server.url, "complete", "schema.sql"),
      stoppedAfter0004: await load(server.url, "stopped", "schema-0004.sql"),
    }),
);

await mkdir(folder, { recursive: true });
const present = await readdir(folder);
const stale = present.filter((file) => !made.has(file));
for (const [file, content] of made) {
  const path = new URL(file, folder);
  if (present.includes(file) && (await readFile(path, "utf8")) === content) continue;
  stale.push(file);
  if (!checking) await writeFile(path, content);
}
for (const file of stale) {
  console.log(`${checking ? "not current" : made.has(file) ? "written" : "removed"}: ${file}`);
  if (!checking && !made.has(file)) await rm(new URL(file, folder));
}
console.log(`${made.size} schemas, ${stale.length} ${checking ? "not current" : "changed"}`);
if (checking && stale.length > 0) {
  console.error("hint: Run npm run schemas, and look at the difference before committing it.");
  process.exitCode = 1;
}

async function load(serverUrl: string, database: string, file: string): Promise<string> {
  const url = new URL(serverUrl);
  await run(url.href, `CREATE DATABASE ${database} TEMPLATE template0`);
  url.pathname = `/${database}`;
  const fixture = new URL(`../fixtures/n-kudo/${file}`, import.meta.url);
  await run(url.href, await readFile(fixture, "utf8"));
  return url.href;
}

async function run(url: string, statements: string): Promise<void> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    await client.query(statements);
  } finally {
    await client.end();
  }
}
