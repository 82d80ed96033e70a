import assert from "node:assert/strict";
import { createReadStream } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { defaultMaxRowBytes } from "../../src/bundle/format.ts";
import type { Session } from "../../src/postgres/session.ts";
import { noProgress } from "../../src/progress.ts";
import type { DatabaseDigest } from "../../src/tenant/digest.ts";
import type { ImportResult } from "../../src/tenant/import-types.ts";
import type { OpenSchema, SchemaOptions } from "../../src/tenant/open-schema.ts";
import type { ReceiptOptions } from "../../src/tenant/receipt-file.ts";
import { type UndoOptions, type UndoResult, undoImport } from "../../src/tenant/undo.ts";
import type { TestDatabase } from "./database.ts";
import { digestOf, type ImportChoice, importBytes, withDatabase } from "./import.ts";
import { createOtherDatabase } from "./other-database.ts";
import { withTenantSchema } from "./tenant-bundle.ts";

/** A database, and a folder for the receipts of what is done to it. */
export interface Undoable {
  readonly database: TestDatabase;
  readonly folder: string;
}

export function withUndoable(
  suite: string,
  use: (undoable: Undoable) => Promise<void>,
): Promise<void> {
  return withFolder((folder) => withDatabase(suite, (database) => use({ database, folder })));
}

/** The same with the schema of `fixtures/other`. */
export function withOtherUndoable(
  suite: string,
  use: (undoable: Undoable) => Promise<void>,
): Promise<void> {
  return withFolder(async (folder) => {
    const database = await createOtherDatabase(suite);
    try {
      await use({ database, folder });
    } finally {
      await database.drop();
    }
  });
}

async function withFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
  try {
    await use(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

export function receiptsIn(folder: string): ReceiptOptions {
  return {
    folder,
    encryption: async () => ({ method: "none" }),
    signal: new AbortController().signal,
  };
}

/** Imports as the command does, with a receipt. */
export function importWithReceipt(
  { database, folder }: Undoable,
  bytes: Uint8Array,
  choice: ImportChoice = {},
): Promise<ImportResult> {
  return importBytes(database.url, bytes, { receipt: receiptsIn(folder), ...choice });
}

export type UndoChoice = Partial<Omit<UndoOptions, "progress">> & Partial<SchemaOptions>;

/** Takes an import back, or an undo, as the command does with `--yes --keep-in-flight`. */
export function undo(
  { database, folder }: Undoable,
  receipt: string | null,
  choice: UndoChoice = {},
): Promise<UndoResult> {
  if (receipt === null) throw new Error("there is no receipt");
  return withTenantSchema(
    database.url,
    (session, schema) =>
      undoInto(session, schema, receipt, { receipt: receiptsIn(folder), ...choice }),
    choice,
  );
}

export function undoInto(
  session: Session,
  schema: OpenSchema,
  receipt: string,
  choice: Partial<Omit<UndoOptions, "progress">> = {},
): Promise<UndoResult> {
  return undoImport(session, schema, createReadStream(receipt), {
    name: '"receipt"',
    dryRun: false,
    confirmed: true,
    disableTriggers: false,
    keepInFlight: true,
    otherDatabase: false,
    maxRowBytes: defaultMaxRowBytes,
    ...choice,
    progress: noProgress,
  });
}

/** Rows only: an undo does not set sequences back. */
export async function assertRows({ database }: Undoable, expected: DatabaseDigest): Promise<void> {
  const { tables } = await digestOf(database);
  assert.deepEqual(tables, expected.tables);
}
