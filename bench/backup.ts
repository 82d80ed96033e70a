import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { inTurn, type Measurement } from "./measure.ts";

/** What the benchmark of backups needs from the program that runs it. */
export interface BackupBench {
  /** Of the database that is backed up. */
  readonly database: string;
  /** Of another one of the same server. */
  readonly at: (database: string) => string;
  readonly work: string;
  readonly pairs: number;
  readonly shell: (script: string) => Promise<Measurement>;
  readonly pgtenant: (
    args: readonly string[],
    env: Readonly<Record<string, string>>,
  ) => Promise<Measurement>;
  readonly query: (url: string, text: string) => Promise<unknown>;
  readonly print: (line: string) => void;
  readonly row: (
    name: string,
    runs: readonly Measurement[],
    to: readonly Measurement[],
    wanted?: string,
  ) => void;
}

const passphrase = "a passphrase of the benchmark";

/** Backup and restore of the whole database, in turn with PostgreSQL's own programs. */
export async function benchBackups(bench: BackupBench): Promise<void> {
  const recipient = await makeKey(bench);
  await benchMaking(bench, recipient);
  await benchRestoring(bench, recipient);
}

async function makeKey({ work, pgtenant }: BackupBench): Promise<string> {
  await pgtenant(["keygen", "-o", join(work, "key")], {});
  return /age1\w+/.exec(readFileSync(join(work, "key"), "utf8"))?.[0] ?? "";
}

async function benchMaking(bench: BackupBench, recipient: string): Promise<void> {
  const { database, work, pairs, shell, pgtenant, print, row } = bench;
  const backup = (...args: string[]) => {
    rmSync(join(work, "made"), { recursive: true, force: true });
    const env = { DATABASE_URL: database, BACKUP_ENCRYPTION_KEY: passphrase };
    return pgtenant(["backup", "-d", join(work, "made"), ...args], env);
  };
  const found = await inTurn(pairs, {
    zstd: () => shell(`pg_dump -d '${database}' | zstd -1 -q > ${work}/dump.zst`),
    recipient: () => backup("--compress", "zstd", "--recipient", recipient),
    guide: () =>
      shell(
        `pg_dump -d '${database}' | gzip | openssl enc -aes-256-cbc -salt -pass 'pass:${passphrase}' -out ${work}/dump.enc 2>/dev/null`,
      ),
    byDefault: () => backup("--encrypt"),
    agePassphrase: () => backup("--encrypt", "--encryption", "age"),
  });
  print("\nbackup                             median      ratio to    peak memory");
  row("pg_dump | zstd -1", found.zstd, found.zstd);
  row("pgtenant, zstd, age recipient", found.recipient, found.zstd, "wanted: 1.4 x, 250 MB");
  row("pg_dump | gzip | openssl enc", found.guide, found.guide);
  row("pgtenant, gzip, passphrase", found.byDefault, found.guide, "wanted: 0.5 x, 250 MB");
  row("pgtenant, gzip, age passphrase", found.agePassphrase, found.guide, "wanted: 400 MB");
}

async function benchRestoring(bench: BackupBench, recipient: string): Promise<void> {
  const { database, at, work, pairs, shell, pgtenant, query, print, row } = bench;
  const folder = join(work, "custom");
  mkdirSync(folder, { recursive: true });
  execFileSync("pg_dump", ["-d", database, "-Fc", "-f", join(work, "dump.custom")]);
  const layers = ["--format", "custom", "--compress", "zstd", "--recipient", recipient];
  await pgtenant(["backup", "-d", folder, ...layers], { DATABASE_URL: database });
  const name = readdirSync(folder).find((file) => file.endsWith(".age") && file.includes(".dump."));
  const empty = async (target: string) => {
    await query(at("postgres"), `DROP DATABASE IF EXISTS ${target} WITH (FORCE)`);
  };
  const found = await inTurn(pairs, {
    pgRestore: async () => {
      await empty("by_pg_restore");
      await query(at("postgres"), "CREATE DATABASE by_pg_restore TEMPLATE template0");
      return await shell(`pg_restore -j2 -d '${at("by_pg_restore")}' ${work}/dump.custom`);
    },
    pgtenant: async () => {
      await empty("by_pgtenant");
      const args = ["restore", join(folder, name ?? ""), "--into", "by_pgtenant", "--jobs", "2"];
      return await pgtenant([...args, "-i", join(work, "key")], { DATABASE_URL: database });
    },
  });
  print("\nrestore, custom format             median      ratio to    peak memory");
  row("pg_restore -j2", found.pgRestore, found.pgRestore);
  row("pgtenant, checked and counted", found.pgtenant, found.pgRestore, "wanted: at most 1.1");
}
