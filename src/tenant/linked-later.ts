import { clearableColumns } from "../catalog/order.ts";
import type { OpenSchema } from "./open-schema.ts";
import type { StagedTable } from "./staging.ts";

/** Columns that are filled in after the rows they point to are there. */
export function linkedLaterColumns(schema: OpenSchema, staged: StagedTable): ReadonlySet<string> {
  return new Set(
    schema.linkedLater
      .filter((key) => key.from === staged.table.name && key.source === "constraint")
      .flatMap((key) => clearableColumns(staged.table, key))
      .filter((column) => staged.present.has(column)),
  );
}
