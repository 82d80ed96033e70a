import { defaultMaxRowBytes } from "../../src/bundle/format.ts";
import { noProgress } from "../../src/progress.ts";
import { diffBundle } from "../../src/tenant/diff.ts";
import type {
  BundleDiff,
  DiffCounts,
  DiffFinding,
  DiffOptions,
  DiffSummary,
} from "../../src/tenant/diff-types.ts";
import type { SchemaOptions } from "../../src/tenant/open-schema.ts";
import { inChunks, withTenantSchema } from "./tenant-bundle.ts";

export type DiffChoice = Partial<Omit<DiffOptions, "progress">> & Partial<SchemaOptions>;

/** Compares a bundle as the command does. */
export function diffWith<T>(
  databaseUrl: string,
  bytes: Uint8Array,
  use: (diff: BundleDiff) => Promise<T>,
  choice: DiffChoice = {},
): Promise<T> {
  return withTenantSchema(
    databaseUrl,
    (session, schema) =>
      diffBundle(
        session,
        schema,
        inChunks(bytes),
        { name: '"bundle"', maxRowBytes: defaultMaxRowBytes, ...choice, progress: noProgress },
        use,
      ),
    choice,
  );
}

export interface WholeDiff {
  readonly summary: DiffSummary;
  readonly findings: readonly DiffFinding[];
}

export function diffBytes(
  databaseUrl: string,
  bytes: Uint8Array,
  choice: DiffChoice = {},
): Promise<WholeDiff> {
  return diffWith(
    databaseUrl,
    bytes,
    async ({ summary, findings }) => ({
      summary,
      findings: await Array.fromAsync(findings()),
    }),
    choice,
  );
}

/** The counts that are not zero, of each table with any but equal ones: `hosts: onlyLive 1`. */
export function deviationsOf({ summary }: WholeDiff): Readonly<Record<string, string>> {
  const fields = ["onlyInBundle", "onlyLive", "different", "boundary"] as const;
  const describe = (counts: DiffCounts) =>
    fields
      .filter((field) => counts[field] > 0)
      .map((field) => `${field} ${counts[field]}`)
      .join(", ");
  return Object.fromEntries(
    summary.tables
      .map((table) => [table.table.replace(/^public\./, ""), describe(table)] as const)
      .filter(([, text]) => text !== ""),
  );
}
