import { sql } from "kysely";
import type { Session } from "../../postgres/session.ts";
import type { CloneState } from "../clone.ts";
import type { PlanNote } from "../import-types.ts";
import type { OpenSchema } from "../open-schema.ts";
import type { StagedTable } from "../staging.ts";
import type { KeyClass } from "./key-classes.ts";
import type { KeyMaps, MappedClass } from "./key-maps.ts";

/** What got new values, in the order of the tables. */
export async function cloneNotes(
  session: Session,
  schema: OpenSchema,
  tables: readonly StagedTable[],
  { mapped, renewed }: KeyMaps,
  state: CloneState,
): Promise<readonly PlanNote[]> {
  const notes: PlanNote[] = [];
  const { from, log } = state;
  for (const { table, rows } of tables.filter((staged) => staged.rows > 0)) {
    const add = (reason: string) => notes.push({ kind: "cloned", table: table.name, reason });
    if (table.name === schema.root.table) {
      add(
        `becomes a new tenant, a clone of "${from.slug ?? from.id}"; where texts and JSON hold ids of the original, they get the new ones`,
      );
    }
    for (const each of renewed.filter((r) => madeIn(r.of, table.name) && r.rows > 0)) {
      const columns = each.of.makers.filter((maker) => maker.table.name === table.name);
      const names = columns.map(({ column }) => column.name).join(", ");
      if (each.of.successor.kind !== "renumber") add(`${each.rows} new key(s) in ${names}`);
    }
    for (const each of mapped.filter((m) => madeIn(m, table.name))) {
      if (each.successor.kind !== "renumber" || each.rows === 0) continue;
      add(await numbersText(session, each, table.name));
    }
    const dropped = (schema.profile.clone.drop[table.name] ?? []).filter((column) =>
      tables.some((staged) => staged.table.name === table.name && staged.present.has(column)),
    );
    if (dropped.length > 0) add(`${rows} row(s) lose ${dropped.join(", ")}`);
    if (table.name === log?.table.name) {
      add(
        `${rows} event(s) are appended to the log, chained anew and marked as copies; other writers of the log wait until the import ends`,
      );
    }
  }
  return notes;
}

function madeIn({ makers }: KeyClass, table: string): boolean {
  return makers[0]?.table.name === table;
}

async function numbersText(session: Session, { map, makers, rows }: MappedClass, table: string) {
  const names = makers.filter((maker) => maker.table.name === table).map((m) => m.column.name);
  const { rows: found } = await sql<{ least: string; most: string }>`
    SELECT min(new)::text AS least, max(new)::text AS most FROM ${map}`.execute(session.db);
  const { least = "", most = "" } = found[0] ?? {};
  return `${rows} number(s) given anew in ${names.join(", ")}: ${least === most ? least : `${least} to ${most}`}`;
}
