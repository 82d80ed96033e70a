import type { LeftOut } from "../bundle/format.ts";
import { shippedTables } from "../bundle/shipped-schemas.ts";
import { nKudo } from "../profile/n-kudo.ts";
import type { StateDocument } from "./state-document.ts";
import type { StateRows } from "./state-rows.ts";
import { chainColumns, neverFilled, rootTable, type StateColumn } from "./state-tables.ts";

export const notHeld = "a state document does not hold it";

/** What a bundle made of the document lacks of the tenant: tables first, then columns. */
export function leftOutOf(
  document: StateDocument,
  columnsOf: ReadonlyMap<string, readonly StateColumn[]>,
): readonly LeftOut[] {
  const known = new Map(document.tables);
  const tables = [...shippedTables(nKudo).keys()].sort().flatMap((table): readonly LeftOut[] => {
    const rows = known.get(table);
    if (rows === undefined) return [{ table, reason: reasonOf(table, document) }];
    if (columnsOf.has(table) && rows.leftOut === 0) return [];
    return [{ table, reason: rowsReason(rows) }];
  });
  const columns = document.tables.values().flatMap((rows): readonly LeftOut[] => {
    const present = columnsOf.get(rows.table.name);
    if (present === undefined) return [];
    const absent = rows.table.columns.filter((column) => !present.includes(column));
    return [
      ...absent.map(({ name }) => ({
        column: `${rows.table.name}.${name}`,
        reason: isOfChain(rows, name)
          ? `${notHeld}; the links of the hash chain cannot be rebuilt`
          : `${notHeld}; new rows get the column's default`,
      })),
      ...[...rows.unknown].map(([key, count]) => ({
        column: `${rows.table.name}.${key}`,
        reason: `${count} row(s): ${
          Object.hasOwn(rows.table.without, key)
            ? rows.table.without[key]
            : "the profile knows no such column"
        }`,
      })),
    ];
  });
  return [...tables, ...columns];
}

function isOfChain(rows: StateRows, column: string): boolean {
  return rows.table.chain !== undefined && chainColumns.includes(column);
}

function reasonOf(table: string, document: StateDocument): string {
  const [key] = Object.entries(neverFilled).find(([, name]) => name === table) ?? [];
  if (key === undefined) return notHeld;
  const elements = document.unread.get(key) ?? 0;
  return elements === 0
    ? "N-Kudo never fills it in"
    : `${elements} element(s), in a form that N-Kudo does not write`;
}

function rowsReason(rows: StateRows): string {
  const { name, restoredBy } = rows.table;
  if (name === rootTable) return `${notHeld}; --slug and --name give the tenant's own row`;
  if (rows.leftOut === 0) return "the document has no row of it";
  return `${rows.leftOut} row(s) without ${restoredBy.join(" or ")}, which cannot be restored`;
}
