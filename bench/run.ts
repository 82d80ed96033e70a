/**
 * Measures export, import, backup and restore against PostgreSQL's own programs, in turn and in
 * pairs, on a throwaway
 * PostgreSQL. Prints medians, ratios and peak memory; it judges nothing and fails nothing.
 *
 *   npm run bench -- [--rows 1000000] [--pairs 3] [--only backups|tenants]
 */
import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import pg from "pg";
import { withThrowawayServer } from "../src/postgres/throwaway-server.ts";
import { benchBackups } from "./backup.ts";
import { inTurn, type Measurement, measure, peak, ratio, seconds } from "./measure.ts";

const root = new URL("../", import.meta.url).pathname;
const { values: options } = parseArgs({
  options: {
    rows: { type: "string", default: "1000000" },
    pairs: { type: "string", default: "3" },
    only: { type: "string" },
  },
});
const rows = Number(options.rows);
const pairs = Number(options.pairs);
const work = mkdtempSync(join(tmpdir(), "pgtenant-bench-"));
process.on("exit", () => rmSync(work, { recursive: true, force: true }));

execFileSync("cp", ["-r", join(root, "schemas"), join(root, "package.json"), `${work}/`]);
execFileSync(process.execPath, [
  join(root, "node_modules/typescript/bin/tsc"),
  "-p",
  join(root, "tsconfig.build.json"),
  "--outDir",
  join(work, "dist"),
]);
execFileSync("ln", ["-s", join(root, "node_modules"), join(work, "node_modules")]);
// As it is installed: run through its first line.
const program = join(work, "dist/main.js");
chmodSync(program, 0o755);

await withThrowawayServer({ path: process.env.PATH ?? "" }, async (server) => {
  const at = (database: string) => server.url.replace(/\/[^/]*$/, `/${database}`);
  print(
    `PostgreSQL ${server.version}, Node ${process.version}, ${rows} log and audit rows, ${pairs} pairs`,
  );

  if (options.only !== "tenants") await benchWholeDatabase(server.url, at);
  if (options.only === "backups") return;
  await seeded(server.url, "bench", { tenants: 1, logs: rows / 2, audit: rows / 2 });
  const queries = await exportQueries(at("bench"));
  await benchExport(at("bench"), queries);
  await benchImport(server.url, at("bench"));
  await benchNeighbours(server.url, at);
  await benchMemory(server.url, at);
  const starts = await inTurn(7, {
    version: () => measure({ command: program, args: ["--version"], env: {} }),
  });
  print(
    `\npgtenant --version: ${(seconds(starts.version) * 1000).toFixed(0)} ms (wanted: under 150)`,
  );
});

/** A database of 1 GB, indexes included. */
async function benchWholeDatabase(
  maintenance: string,
  at: (database: string) => string,
): Promise<void> {
  await seeded(maintenance, "whole", { tenants: 3, logs: 280_000, audit: 190_000 });
  const { rows: found } = await query(at("whole"), "SELECT pg_database_size('whole') AS size");
  print(`\nthe whole database: ${(Number(found[0]?.size) / 1e6).toFixed(0)} MB`);
  await benchBackups({
    database: at("whole"),
    at,
    work,
    pairs,
    shell,
    pgtenant: (args, env) => measure({ command: program, args: [...args, "--quiet"], env }),
    query,
    print,
    row,
  });
  await query(maintenance, "DROP DATABASE whole");
}

function pgtenant(database: string, ...args: string[]): Promise<Measurement> {
  return measure({
    command: program,
    args: [...args, "--quiet"],
    env: { DATABASE_URL: database, BACKUP_DIR: join(work, "backups") },
  });
}

function shell(script: string): Promise<Measurement> {
  return measure({ command: "bash", args: ["-ec", `set -o pipefail; ${script}`], env: {} });
}

async function benchExport(database: string, queries: readonly string[]): Promise<void> {
  const copies = queries
    .map((query) => `COPY (SELECT row_to_json(t) FROM (${query}) t) TO STDOUT`)
    .map((copy) => `-c "${copy.replaceAll('"', '\\"')}"`)
    .join(" ");
  const out = join(work, "tenant.jsonl.zst");
  const found = await inTurn(pairs, {
    psql: () => shell(`psql -Xq '${database}' ${copies} | zstd -1 -q > ${work}/psql.zst`),
    validated: () => pgtenant(database, "export", "acme", "-o", out, "--overwrite"),
    unvalidated: () =>
      pgtenant(database, "export", "acme", "-o", out, "--overwrite", "--no-validate"),
    cursor: () =>
      measure({
        command: process.execPath,
        args: [join(root, "bench/kysely-cursor.ts"), join(work, "cursor.zst"), ...queries],
        env: { DATABASE_URL: database },
      }),
  });
  print("\nexport                          median     ratio to psql   peak memory");
  row("psql row_to_json | zstd -1", found.psql, found.psql);
  row("pgtenant export", found.validated, found.psql, "wanted: at most 1.6");
  row("pgtenant export --no-validate", found.unvalidated, found.psql, "wanted: at most 1.15");
  row("Kysely cursor, JSON.stringify", found.cursor, found.psql);
  print(
    `Kysely cursor to export --no-validate: ${ratio(found.cursor, found.unvalidated).toFixed(2)} (wanted: at least 2)`,
  );
}

async function benchImport(maintenance: string, source: string): Promise<void> {
  const tables = await tablesInOrder(source);
  execFileSync("bash", [
    "-ec",
    tables
      .map((t) => `psql -Xq '${source}' -c "COPY ${t} TO STDOUT" > ${work}/${t}.txt`)
      .join("\n"),
  ]);
  await seeded(maintenance, "target", undefined);
  const target = maintenance.replace(/\/[^/]*$/, "/target");
  const empty = async () => {
    await query(target, "TRUNCATE tenants, crl_entries CASCADE");
    await query(target, "CHECKPOINT");
  };
  const copies = tables.map((t) => `-c "\\copy ${t} FROM '${work}/${t}.txt'"`).join(" ");
  const bundle = join(work, "tenant.jsonl.zst");
  const found = await inTurn(pairs, {
    psql: async () => {
      await empty();
      return await shell(`psql -Xq '${target}' ${copies}`);
    },
    pgtenant: async () => {
      await empty();
      return await pgtenant(target, "import", bundle, "--keep-in-flight");
    },
  });
  print("\nimport                          median     ratio to psql   peak memory");
  row("psql COPY into the tables", found.psql, found.psql);
  row("pgtenant import", found.pgtenant, found.psql, "wanted: at most 2.3");
}

/** A tenant's export, beside few rows of other tenants and beside ten times as many. */
async function benchNeighbours(
  maintenance: string,
  at: (database: string) => string,
): Promise<void> {
  const each = { logs: 20_000, audit: 20_000 };
  await seeded(maintenance, "few", { tenants: 3, ...each });
  await seeded(maintenance, "many", { tenants: 21, ...each });
  const out = join(work, "neighbour.jsonl.zst");
  const run = (name: string) => () =>
    pgtenant(at(name), "export", "acme", "-o", out, "--overwrite");
  const found = await inTurn(Math.max(5, pairs), { few: run("few"), many: run("many") });
  print("\nexport of one tenant of 40,000 rows");
  row("beside 2 other tenants", found.few, found.few);
  row("beside 20 other tenants", found.many, found.few, "wanted: no slower");
}

async function benchMemory(maintenance: string, at: (database: string) => string): Promise<void> {
  await seeded(maintenance, "small", { tenants: 1, logs: 5000, audit: 5000 });
  const bundle = join(work, "small.jsonl.zst");
  const exported = await pgtenant(at("small"), "export", "acme", "-o", bundle, "--overwrite");
  const imported = await pgtenant(at("small"), "import", bundle, "--dry-run");
  print(
    `\npeak memory with ten thousand rows: export ${exported.peakMegabytes.toFixed(0)} MB, import ${imported.peakMegabytes.toFixed(0)} MB (wanted: at most 200, also with a million)`,
  );
}

function row(
  name: string,
  runs: readonly Measurement[],
  to: readonly Measurement[],
  wanted = "",
): void {
  print(
    `${name.padEnd(31)} ${seconds(runs).toFixed(2).padStart(7)} s ${ratio(runs, to).toFixed(2).padStart(10)} x ${peak(runs).toFixed(0).padStart(13)} MB  ${wanted}`,
  );
}

interface Seed {
  readonly tenants: number;
  readonly logs: number;
  readonly audit: number;
}

/** A database with N-Kudo's schema; without a seed it stays empty. */
async function seeded(maintenance: string, name: string, seed: Seed | undefined): Promise<void> {
  await query(maintenance, `CREATE DATABASE ${name}`);
  const url = maintenance.replace(/\/[^/]*$/, `/${name}`);
  await query(url, readFileSync(join(root, "fixtures/n-kudo/schema.sql"), "utf8"));
  if (seed === undefined) return;
  const settings = Object.entries(seed).map(([key, value]) => `SET seed.${key} = '${value}';`);
  await query(
    url,
    `SET seed.big = 'off'; ${settings.join(" ")} ${readFileSync(join(root, "fixtures/n-kudo/seed.sql"), "utf8")}`,
  );
  await query(url, "VACUUM ANALYZE");
}

async function query(url: string, text: string): Promise<pg.QueryResult<Record<string, string>>> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await client.query(text);
  } finally {
    await client.end();
  }
}

/** The tenant's rows of each table, in key order, as the export itself selects them. */
async function exportQueries(database: string): Promise<readonly string[]> {
  const { rows: found } = await query(database, "SELECT id FROM tenants WHERE slug = 'acme'");
  const id = found[0]?.id ?? "";
  const through: Readonly<Record<string, string>> = {
    tenants: `id = '${id}'`,
    certificate_history: `agent_id IN (SELECT id FROM agents WHERE tenant_id = '${id}')`,
    crl_entries: `agent_id IN (SELECT id FROM agents WHERE tenant_id = '${id}')`,
    vxlan_tunnels: `host_id IN (SELECT id FROM hosts WHERE tenant_id = '${id}')`,
    vm_network_attachments: `vm_id IN (SELECT id FROM microvms WHERE tenant_id = '${id}')`,
  };
  return (await tablesInOrder(database)).map((table) => {
    const key = table === "crl_entries" ? "serial" : "id";
    return `SELECT * FROM ${table} WHERE ${through[table] ?? `tenant_id = '${id}'`} ORDER BY ${key}`;
  });
}

async function tablesInOrder(database: string): Promise<readonly string[]> {
  const { rows: found } = await query(
    database,
    "SELECT relname AS name FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace",
  );
  const present = new Set(found.map((table) => table.name));
  return [
    ...["tenants", "users", "sites", "hosts", "agents", "microvms", "plans", "executions"],
    ...["execution_logs", "audit_events", "api_keys", "enrollment_tokens", "plan_actions"],
    ...["certificate_history", "crl_entries", "password_reset_tokens"],
    ...["email_verification_tokens", "project_invitations", "vxlan_networks"],
    ...["vxlan_tunnels", "vm_network_attachments"],
  ].filter((name) => present.has(name));
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
