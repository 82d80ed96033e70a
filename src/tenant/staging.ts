import type { RawBuilder } from "kysely";
import type { Opener } from "../bundle/encryption.ts";
import type { BundleHeader, LeftOut, TenantIdentity } from "../bundle/format.ts";
import { type BundlePart, readBundle } from "../bundle/reader.ts";
import type { Column, Table } from "../catalog/catalog.ts";
import { AppError, ExitCode } from "../errors.ts";
import type { Session } from "../postgres/session.ts";
import { refuseStandby } from "../postgres/standby.ts";
import type { CloneState } from "./clone.ts";
import { type LostValues, refuseHomeless } from "./homeless.ts";
import type { ImportOptions } from "./import-types.ts";
import type { OpenSchema } from "./open-schema.ts";
import { type FilteredTable, LeafFilters } from "./selection/leaf-filter.ts";
import { TableStaging } from "./stage-table.ts";
import { matchColumns } from "./target-match.ts";

/** A table of the bundle whose rows lie typed in a temporary table. */
export interface StagedTable {
  readonly table: Table;
  readonly key: readonly string[];
  /** Columns whose values are never shown. */
  readonly secrets: readonly string[];
  /** The columns that are restored: those of both sides, and those set on the command line. */
  readonly columns: readonly Column[];
  /** Every column of the staged rows: `columns`, and generated ones where all is there. */
  readonly present: ReadonlySet<string>;
  /** Columns that the target declares NOT NULL and the bundle does not. */
  readonly mayBeNull: readonly Column[];
  /** NOT NULL columns for which new rows would have no value. */
  readonly unfilled: readonly string[];
  /** Columns whose values may not fit; `cutColumn` tells which row's do not. */
  readonly narrowing: readonly Column[];
  /** By column: what a row without a value gets that has no live counterpart. */
  readonly setTo: ReadonlyMap<string, string>;
  readonly rows: number;
  /** The bundle's own rows of the table, of which not all need to be staged. */
  readonly inBundle: number;
  /** The temporary tables: staged rows, their live counterparts, live rows to delete. */
  readonly stage: RawBuilder<unknown>;
  readonly match: RawBuilder<unknown>;
  readonly extra: RawBuilder<unknown>;
  /** Staged rows that stay out because of a collision, where there are any. */
  readonly out: RawBuilder<unknown>;
}

export interface StagedBundle {
  readonly header: BundleHeader;
  /** The tenant whose rows are written: the header's, unless the bundle is imported as another. */
  readonly tenant: TenantIdentity;
  /** In the target's order, parents first. */
  readonly tables: readonly StagedTable[];
  readonly rows: number;
  /** The trailer's hash, which stands for the whole bundle. */
  readonly sha256: string;
  readonly leftOut: readonly LeftOut[];
  /** Tables of which only those rows were staged that a selection may mean. */
  readonly filtered?: readonly FilteredTable[];
  /** What is staged is a part of the tenant: a row may refer to one that is neither here nor live. */
  readonly partial?: boolean;
  /** What `leftOut` costs: tables with rows and columns with values. */
  readonly lost: readonly LostValues[];
  /** Set when the rows are written as another tenant's. */
  readonly clone?: CloneState;
}

/** What says how a bundle is read. */
export type StagingOptions = Pick<
  ImportOptions,
  "name" | "maxRowBytes" | "keys" | "set" | "leaveOut" | "progress" | "selection" | "clone"
>;

/**
 * Reads a whole bundle into typed temporary tables of the session, validating every row on
 * its way. When it returns, the trailer has been seen and every hash was right; no other table
 * has been touched.
 *
 * @throws {AppError} exit 3 for a bundle that is not whole or a row that is not valid, 4 when
 *   the target has no place for a value
 */
export async function stageBundle(
  session: Session,
  schema: OpenSchema,
  parts: AsyncGenerator<BundlePart>,
  header: BundleHeader,
  options: StagingOptions,
): Promise<StagedBundle> {
  await refuseStandby(session);
  const matches = matchColumns(schema, header, options);
  const stagings = new Map<string, TableStaging>();
  const filters = new LeafFilters(session, schema, header, options);
  const done = new Map<string, TableStaging>();
  let rows = 0;
  let sha256 = "";
  try {
    for await (const part of parts) {
      if (part.kind === "table") {
        const match = matches.get(part.table.name);
        if (match === undefined) throw new Error(`no match for table ${part.table.name}`);
        const staging = new TableStaging(session, match, stagings.size, {
          maxRowBytes: options.maxRowBytes,
          secrets: schema.profile.secrets[part.table.name] ?? [],
        });
        await staging.create();
        stagings.set(part.table.name, staging);
      } else if (part.kind === "rows") {
        const staging = stagings.get(part.table.name);
        if (staging?.match.target !== undefined && part.firstRow === 1) {
          staging.filterBy(filters.choosesNone(staging.table) ?? "not yet");
        }
        if (staging?.isLong(part.firstRow) === true) {
          staging.filterBy(await filters.filterFor(staging.table, done));
        }
        await staging?.add(part.bytes, part.firstRow, part.count);
        rows += part.count;
        options.progress.advance(`staging ${part.table.name}`, part.count);
      } else if (part.kind === "end") {
        const staging = stagings.get(part.end.table);
        await staging?.settle();
        if (staging?.match.target !== undefined) done.set(part.end.table, staging);
      } else if (part.kind === "trailer") {
        sha256 = part.trailer.sha256;
      }
    }
  } catch (error) {
    // The batch before the bad one may be under way; the session is not free until it is done.
    for (const staging of stagings.values()) await staging.settle().catch(() => undefined);
    throw error;
  }
  const lost = refuseHomeless([...stagings.values()], options);
  const tables: StagedTable[] = [];
  for (const table of schema.tables) {
    const staged = await stagings.get(table.name)?.finish();
    if (staged !== undefined) tables.push(staged);
  }
  return {
    header,
    tenant: header.tenant,
    tables,
    rows,
    sha256,
    leftOut: [...stagings.values()].flatMap((staging) => staging.match.leftOut),
    filtered: [...stagings.values()].flatMap((staging) => staging.filtered ?? []),
    lost,
  };
}

/** Opens a bundle far enough to know its header. */
export async function openBundle(
  source: AsyncIterable<Uint8Array>,
  options: Pick<ImportOptions, "name" | "maxRowBytes" | "keys">,
): Promise<{ header: BundleHeader; parts: AsyncGenerator<BundlePart>; opener: Opener }> {
  let opener: Opener = { method: "none" };
  const parts = readBundle(source, {
    name: options.name,
    maxRowBytes: options.maxRowBytes,
    keys: options.keys,
    onOpened: (found) => {
      opener = found;
    },
  });
  const first = await parts.next();
  if (first.done === true || first.value.kind !== "header") {
    throw new AppError(
      "incomplete-bundle",
      ExitCode.invalidInput,
      `${options.name} has no header`,
      {
        hint: "Take another copy of the bundle.",
      },
    );
  }
  return { header: first.value.header, parts, opener };
}
