import assert from "node:assert/strict";
import { sql } from "kysely";
import { defaultMaxRowBytes } from "../../src/bundle/format.ts";
import { ownedBy, relation } from "../../src/catalog/ownership.ts";
import { AppError } from "../../src/errors.ts";
import { type Session, withSession } from "../../src/postgres/session.ts";
import { noProgress } from "../../src/progress.ts";
import { type DatabaseDigest, differences, digestDatabase } from "../../src/tenant/digest.ts";
import { listIdentities } from "../../src/tenant/find-tenant.ts";
import { importBundle } from "../../src/tenant/import.ts";
import type { ImportOptions, ImportResult, TablePlan } from "../../src/tenant/import-types.ts";
import type { OpenSchema, SchemaOptions } from "../../src/tenant/open-schema.ts";
import { createDatabase, type TemplateName, type TestDatabase } from "./database.ts";
import { exportBundle, inChunks, withTenantSchema } from "./tenant-bundle.ts";

export type ImportChoice = Partial<Omit<ImportOptions, "progress">> & Partial<SchemaOptions>;

/** Imports a bundle as the command does, in mode `missing` unless told otherwise. */
export function importBytes(
  databaseUrl: string,
  bytes: Uint8Array,
  choice: ImportChoice = {},
): Promise<ImportResult> {
  return withTenantSchema(
    databaseUrl,
    (session, schema) => importInto(session, schema, bytes, choice),
    choice,
  );
}

/** What an import is told when nothing is said. */
export const importDefaults: ImportOptions = {
  name: '"bundle"',
  mode: "missing",
  dryRun: false,
  confirmed: true,
  set: new Map(),
  leaveOut: [],
  disableTriggers: false,
  keepInFlight: true,
  expireCredentials: false,
  onCollision: "fail",
  acceptRedacted: false,
  maxRowBytes: defaultMaxRowBytes,
  progress: noProgress,
};

export function importInto(
  session: Session,
  schema: OpenSchema,
  bytes: Uint8Array,
  choice: ImportChoice = {},
): Promise<ImportResult> {
  return importBundle(session, schema, inChunks(bytes), { ...importDefaults, ...choice });
}

export interface RefusalWanted {
  readonly exitCode: number;
  readonly message: RegExp;
  readonly hint?: RegExp;
}

/**
 * Asserts that an import is refused, with this exit code and wording, and that no row and no
 * sequence of the database has changed.
 */
export async function assertImportRefused(
  database: TestDatabase,
  bytes: Uint8Array,
  choice: ImportChoice,
  wanted: RefusalWanted,
): Promise<AppError> {
  const before = await digestOf(database);
  const error = await importBytes(database.url, bytes, choice).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  assert.ok(error !== undefined, "the import was not refused");
  assert.ok(error instanceof AppError, error instanceof Error ? error.stack : String(error));
  assert.match(error.message, wanted.message);
  assert.equal(error.exitCode, wanted.exitCode, error.message);
  if (wanted.hint !== undefined) assert.match(error.hint ?? "", wanted.hint);
  assert.deepEqual(differences(before, await digestOf(database)), []);
  return error;
}

/** Every row of every table, and the state of every sequence. */
export function digestOf(database: TestDatabase): Promise<DatabaseDigest> {
  return withSession(
    { databaseUrl: database.url, applicationName: "pgtenant-test" },
    digestDatabase,
  );
}

/** By tenant and table, a hash of the rows that belong to the tenant. */
export function tenantDigests(
  database: TestDatabase,
  options: Partial<SchemaOptions> = {},
): Promise<ReadonlyMap<string, ReadonlyMap<string, string>>> {
  return withTenantSchema(
    database.url,
    async (session, schema) => {
      const digests = new Map<string, Map<string, string>>();
      for (const { id, slug } of await listIdentities(session, schema)) {
        const tables = new Map<string, string>();
        for (const table of schema.tables) {
          const { catalog, root, ownership } = schema;
          const { rows } = await sql<{ hash: string }>`
            SELECT md5(string_agg(md5(l::text), '' ORDER BY md5(l::text))) AS hash
              FROM ${relation(table)} AS l
             WHERE ${ownedBy(catalog, root, ownership, table, "l", id)}`.execute(session.db);
          tables.set(table.name, rows[0]?.hash ?? "");
        }
        digests.set(slug ?? id, tables);
      }
      return digests;
    },
    options,
  );
}

/** As N-Kudo does it: foreign keys take everything along but the revoked serials. */
export async function deleteTenant(database: TestDatabase, slug: string): Promise<void> {
  await database.query("DELETE FROM tenants WHERE slug = $1", [slug]);
}

/** The plan's numbers for tables with anything to do: `sites: insert 1, update 2`. */
export function changesOf({ plan }: Pick<ImportResult, "plan">): Readonly<Record<string, string>> {
  const kinds = ["insert", "update", "relink", "delete"] as const;
  const describe = (table: TablePlan) =>
    kinds
      .filter((kind) => table[kind] > 0)
      .map((kind) => `${kind} ${table[kind]}`)
      .join(", ");
  return Object.fromEntries(
    plan.tables
      .map((table) => [table.table.replace(/^public\./, ""), describe(table)] as const)
      .filter(([, text]) => text !== ""),
  );
}

/** A database of its own for one test, without the 5 MB values. */
export async function withDatabase(
  suite: string,
  use: (database: TestDatabase) => Promise<void>,
  template: TemplateName = "n-kudo",
): Promise<void> {
  const database = await createDatabase(suite, template, { settings: { "seed.big": "off" } });
  try {
    await use(database);
  } finally {
    await database.drop();
  }
}

const bundles = new Map<string, Promise<Buffer>>();

/** A tenant's bundle of a fresh `withDatabase`, made once a test file. */
export function freshBundle(tenant: string, template: TemplateName = "n-kudo"): Promise<Buffer> {
  const name = `${tenant} of ${template}`;
  const known = bundles.get(name);
  if (known !== undefined) return known;
  const made = new Promise<Buffer>((resolve, reject) => {
    withDatabase(
      "fresh-bundle",
      async (database) => resolve((await exportBundle(database.url, tenant)).bytes),
      template,
    ).catch(reject);
  });
  bundles.set(name, made);
  return made;
}

/** Asserts that rows and sequences are those of `expected`. */
export async function assertUnchanged(
  database: TestDatabase,
  expected: DatabaseDigest,
): Promise<void> {
  assert.deepEqual(differences(expected, await digestOf(database)), []);
}
