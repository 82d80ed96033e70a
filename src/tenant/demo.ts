import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { sql } from "kysely";
import { defaultMaxRowBytes } from "../bundle/format.ts";
import { type VerifiedBundle, verifyBundle } from "../bundle/verify.ts";
import { AppError, ExitCode } from "../errors.ts";
import type { ServerSource } from "../postgres/find-server-programs.ts";
import { type ConnectionOptions, type Session, withSession } from "../postgres/session.ts";
import { fastSettings, withThrowawayServer } from "../postgres/throwaway-server.ts";
import { noProgress } from "../progress.ts";
import { openInput } from "../storage/input.ts";
import { type DatabaseDigest, differences, digestDatabase } from "./digest.ts";
import type { ExportResult } from "./export.ts";
import { exportNamedTenant } from "./export-tenants.ts";
import { importBundle } from "./import.ts";
import type { ImportResult } from "./import-types.ts";
import { listTenants, type TenantList } from "./list-tenants.ts";
import { openSchema } from "./open-schema.ts";

export interface DemoOptions {
  /** Where PostgreSQL's server programs are; see ThrowawayServerOptions. */
  readonly binDir: string | undefined;
  readonly path: string | undefined;
  readonly source?: ServerSource;
  readonly signal: AbortSignal;
}

/** What was done, with what came of it. */
export type DemoStep = { readonly seconds: number } & (
  | { readonly kind: "server"; readonly version: string; readonly source: ServerSource }
  | { readonly kind: "database"; readonly tables: number; readonly rows: number }
  | { readonly kind: "tenants"; readonly list: TenantList }
  | { readonly kind: "export"; readonly result: ExportResult }
  | { readonly kind: "verify"; readonly found: VerifiedBundle; readonly file: string }
  | { readonly kind: "delete"; readonly tenant: string; readonly lost: readonly string[] }
  | { readonly kind: "plan"; readonly result: ImportResult; readonly file: string }
  | { readonly kind: "import"; readonly result: ImportResult; readonly file: string }
  | { readonly kind: "proof"; readonly before: DatabaseDigest; readonly after: DatabaseDigest }
);

const database = "nkudo";
const tenant = "acme";
const schemaOptions = { profile: "n-kudo", acceptUnclassified: false };
/** Beside `src/` in a checkout and beside `dist/` in the package. */
const fixtures = new URL("../../fixtures/n-kudo/", import.meta.url);

/**
 * The main job on a throwaway server: export a tenant, verify the bundle, lose the tenant, get it
 * back, and prove the whole database equal to before. The bundle lies in the server's own
 * folder, which goes when the server goes, however our process ends.
 *
 * @param onStep called after each step
 * @throws {AppError} exit 7 when there is no PostgreSQL to run, 1 when the proof fails
 */
export async function runDemo(
  options: DemoOptions,
  onStep: (step: DemoStep) => void,
): Promise<DatabaseDigest> {
  const clock = stopwatch();
  return await withThrowawayServer(
    { ...options, settings: fastSettings },
    async ({ url, version, source, dataDir }) => {
      onStep({ kind: "server", version, source, seconds: clock() });
      const connect = (name: string): ConnectionOptions => ({
        databaseUrl: url.replace(/\/postgres$/, `/${name}`),
        applicationName: "pgtenant demo",
        signal: options.signal,
      });
      await withSession(connect("postgres"), async (session) => {
        await sql`CREATE DATABASE ${sql.id(database)} TEMPLATE template0`.execute(session.db);
      });
      const connection = connect(database);
      const before = await withSession(connection, async (session) => {
        await loadFixtures(session);
        return await digestDatabase(session);
      });
      const rows = before.tables.reduce((sum, table) => sum + table.rows, 0);
      onStep({ kind: "database", tables: before.tables.length, rows, seconds: clock() });
      const file = join(dirname(dataDir), "bundles", `${tenant}.jsonl.zst`);
      await roundTrip(connection, file, options.signal, clock, onStep);
      const after = await withSession(connection, digestDatabase);
      onStep({ kind: "proof", before, after, seconds: clock() });
      requireEqual(before, after);
      return after;
    },
  );
}

async function roundTrip(
  connection: ConnectionOptions,
  file: string,
  signal: AbortSignal,
  clock: () => number,
  onStep: (step: DemoStep) => void,
): Promise<void> {
  const list = await listTenants(connection, schemaOptions, noProgress);
  onStep({ kind: "tenants", list, seconds: clock() });

  const exported = await exportNamedTenant(
    {
      connection,
      schema: schemaOptions,
      destination: { kind: "file", path: file },
      layout: "jsonl",
      compression: "zstd",
      encryption: { method: "none" },
      overwrite: false,
      validate: true,
      maxRowBytes: defaultMaxRowBytes,
      progress: noProgress,
      signal,
    },
    tenant,
  );
  onStep({ kind: "export", result: exported, seconds: clock() });

  const input = await openInput(file, signal);
  const found = await verifyBundle(input.bytes, {
    name: input.name,
    maxRowBytes: defaultMaxRowBytes,
  });
  if (found.found > 0) throw new Error(found.findings[0]?.message ?? "the bundle does not hold");
  onStep({ kind: "verify", found, file, seconds: clock() });

  const lost = await withSession(connection, deleteTenant);
  onStep({ kind: "delete", tenant, lost, seconds: clock() });

  for (const kind of ["plan", "import"] as const) {
    const result = await importFile(connection, file, kind === "plan", signal);
    onStep({ kind, result, file, seconds: clock() });
  }
}

async function loadFixtures(session: Session): Promise<void> {
  for (const name of ["schema.sql", "seed.sql"]) {
    await session.client.query(await readFile(new URL(name, fixtures), "utf8"));
  }
}

/** As the control plane does it; foreign keys take everything along. */
async function deleteTenant(session: Session): Promise<readonly string[]> {
  const before = await digestDatabase(session);
  await sql`DELETE FROM public.tenants WHERE slug = ${tenant}`.execute(session.db);
  return differences(before, await digestDatabase(session));
}

async function importFile(
  connection: ConnectionOptions,
  file: string,
  dryRun: boolean,
  signal: AbortSignal,
): Promise<ImportResult> {
  return await withSession(connection, async (session) => {
    const schema = await openSchema(session, schemaOptions);
    const input = await openInput(file, signal);
    return await importBundle(session, schema, input.bytes, {
      name: input.name,
      mode: "missing",
      dryRun,
      confirmed: false,
      set: new Map(),
      leaveOut: [],
      disableTriggers: false,
      keepInFlight: true,
      expireCredentials: false,
      onCollision: "fail",
      acceptRedacted: false,
      maxRowBytes: defaultMaxRowBytes,
      progress: noProgress,
    });
  });
}

/** @throws {AppError} exit 1 when a row or a sequence differs, naming the tables and sequences */
export function requireEqual(before: DatabaseDigest, after: DatabaseDigest): void {
  const different = differences(before, after);
  if (different.length === 0) return;
  throw new AppError(
    "demo-failed",
    ExitCode.internal,
    `the database is not what it was: ${different.join(", ")} differ`,
    { hint: "This is a defect of pgtenant. Please report it.", details: different },
  );
}

/** Gives the seconds since it was last asked. */
function stopwatch(): () => number {
  let last = performance.now();
  return () => {
    const now = performance.now();
    const seconds = (now - last) / 1000;
    last = now;
    return seconds;
  };
}
