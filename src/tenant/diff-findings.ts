import type { Readable } from "node:stream";
import { finished } from "node:stream/promises";
import { type RawBuilder, sql } from "kysely";
import { completeLines } from "../bundle/lines.ts";
import { columnOf } from "../catalog/catalog.ts";
import { relation } from "../catalog/ownership.ts";
import { copyJsonLines } from "../postgres/copy.ts";
import { columnsEqual, conjunction } from "../postgres/identifiers.ts";
import type { Session } from "../postgres/session.ts";
import { type Deviation, deviationColumn } from "./diff-rows.ts";
import type { DiffFinding } from "./diff-types.ts";
import { columnDifference, differingColumns, rowLabel, type SentColumn } from "./diff-values.ts";
import type { OpenSchema } from "./open-schema.ts";
import { rowKeyText } from "./row-key.ts";
import type { StagedTable } from "./staging.ts";

interface SentFinding {
  readonly row: string;
  readonly label?: string | null;
  readonly columns?: readonly SentColumn[];
}

const lineFeed = 0x0a;

/** In the order in which a table's findings stand. */
const order = ["foreign", "orphan", "different", "bundle", "live"] as const;

/**
 * The findings of one table, which the server sends no faster than they are read. Those that
 * nobody wants any more are read to the end unseen: the session is needed again.
 */
export async function* tableFindings(
  session: Session,
  schema: OpenSchema,
  staged: StagedTable,
  limit: number | undefined,
): AsyncGenerator<DiffFinding> {
  let left = limit;
  for (const kind of order) {
    if (left === 0) return;
    const query = findingsQuery(schema, staged, kind, left);
    const { stream } = copyJsonLines(session, query);
    try {
      for await (const sent of documents<SentFinding>(stream)) {
        if (left !== undefined) left -= 1;
        yield findingOf(staged, kind, sent);
      }
    } finally {
      await readToEnd(stream);
    }
  }
}

function findingsQuery(
  schema: OpenSchema,
  staged: StagedTable,
  kind: Deviation | "live",
  limit: number | undefined,
): RawBuilder<unknown> {
  const { table, key, stage, match, extra } = staged;
  const fields = [sql`'row', ${rowKeyText("d", staged)}`];
  const joins: RawBuilder<unknown>[] = [];
  const join = (rows: RawBuilder<unknown>, alias: "l" | "s") => {
    joins.push(sql`JOIN ${rows} AS ${sql.id(alias)} ON ${columnsEqual(alias, key, "d")}`);
  };
  const side = kind === "bundle" ? "s" : "l";
  // A row of another tenant's has no name here.
  const label =
    kind === "foreign" || kind === "orphan" ? undefined : rowLabel(schema, staged, side);
  if (label !== undefined) fields.push(sql`'label', ${label}`);
  if (kind === "different") {
    join(stage, "s");
    join(relation(table), "l");
    fields.push(sql`'columns', ${differingColumns(staged)}`);
  } else if (label !== undefined) {
    join(side === "s" ? stage : relation(table), side);
  }
  const from = kind === "live" ? extra : match;
  const where = conjunction(
    kind === "live" ? [] : [sql`${sql.id("d", deviationColumn)} = ${sql.lit(kind)}`],
  );
  const sorted = key.map((name) =>
    columnOf(table, name)?.collatable === true
      ? sql`${sql.id("d", name)} COLLATE "C"`
      : sql.id("d", name),
  );
  return sql`
    SELECT json_build_object(${sql.join(fields)})
      FROM ${from} AS d ${sql.join(joins, sql` `)}
     WHERE ${where} ORDER BY ${sql.join(sorted)}
     LIMIT ${limit === undefined ? sql`ALL` : sql.lit(limit)}`;
}

function findingOf(staged: StagedTable, kind: Deviation | "live", sent: SentFinding): DiffFinding {
  const table = staged.table.name;
  const { row, label } = sent;
  const named = label === null || label === undefined || label === "" ? {} : { label };
  switch (kind) {
    case "foreign":
      return { kind: "boundary", table, row, reason: "belongs to another tenant" };
    case "orphan":
      return { kind: "boundary", table, row, reason: "belongs to no tenant, and differs" };
    case "different":
      return {
        kind: "different",
        table,
        row,
        ...named,
        columns: (sent.columns ?? []).map((column) =>
          columnDifference(columnOf(staged.table, column.column), column),
        ),
      };
    case "bundle":
      return { kind: "only-in-bundle", table, row, ...named };
    case "live":
      return { kind: "only-live", table, row, ...named };
  }
}

async function* documents<T>(stream: Readable): AsyncGenerator<T> {
  const chunks = stream.iterator({ destroyOnReturn: false });
  const limits = { maxLine: Number.MAX_SAFE_INTEGER, batch: 1 };
  for await (const batch of completeLines(chunks, limits)) {
    for (let start = 0; start < batch.length; ) {
      const end = batch.indexOf(lineFeed, start);
      yield JSON.parse(batch.toString("utf8", start, end)) as T;
      start = end + 1;
    }
  }
}

async function readToEnd(stream: Readable): Promise<void> {
  if (stream.readableEnded || stream.destroyed) return;
  stream.resume();
  await finished(stream, { writable: false });
}
