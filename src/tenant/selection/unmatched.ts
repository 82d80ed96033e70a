import { type RawBuilder, sql } from "kysely";
import { AppError, ExitCode } from "../../errors.ts";
import { columnsEqual, conjunction, disjunction } from "../../postgres/identifiers.ts";
import type { Session } from "../../postgres/session.ts";
import { keyOf } from "../../profile/classify.ts";
import { type Chosen, isNamed } from "./choose.ts";
import { columnsOfItem, type SelectionItem } from "./items.ts";
import { didYouMean, nearest } from "./nearest.ts";

/**
 * Refuses an item of a selection that names rows and means none: it is a slip of the pen. With
 * `staged` it must mean a row of the bundle; else one of any side will do.
 *
 * @throws {AppError} exit 2, with values that are near
 */
export async function refuseUnmatched(
  session: Session,
  chosen: Chosen,
  where: "staged" | "either",
): Promise<void> {
  const { select, exclude } = chosen.selection;
  for (const item of select) {
    if (item.kind === "rows" && !(await matches(session, chosen, item, where))) {
      throw await unmatched(session, chosen, item, "--select", where);
    }
  }
  for (const item of exclude) {
    if (item.kind === "rows" && !(await matches(session, chosen, item, "either"))) {
      throw await unmatched(session, chosen, item, "--exclude", "either");
    }
  }
}

type RowsItem = SelectionItem & { readonly kind: "rows" };

async function matches(
  session: Session,
  { sides }: Chosen,
  item: RowsItem,
  where: "staged" | "either",
): Promise<boolean> {
  const { table } = item;
  const staged = sides.find((side) => side.kind === "staged")?.rows(table.name);
  const each = sides.flatMap((side): RawBuilder<boolean>[] => {
    const rows = side.rows(table.name);
    if (rows === undefined) return [];
    const named = conjunction([side.owned(table, "r"), isNamed(item, side, "r")]);
    // A live row's key may be what leads to a row of the bundle.
    if (where === "either" || side.kind === "staged") {
      return [sql`EXISTS (SELECT FROM ${rows} AS r WHERE ${named})`];
    }
    if (staged === undefined) return [];
    return [
      sql`EXISTS (SELECT FROM ${rows} AS r JOIN ${staged} AS s
                  ON ${columnsEqual("s", keyOf(table), "r")} WHERE ${named})`,
    ];
  });
  const { rows } = await sql<{ found: boolean }>`SELECT ${disjunction(each)} AS found`.execute(
    session.db,
  );
  return rows[0]?.found === true;
}

async function unmatched(
  session: Session,
  chosen: Chosen,
  item: RowsItem,
  flag: string,
  where: "staged" | "either",
): Promise<AppError> {
  const near = nearest(item.value, await someValues(session, chosen, item));
  const whose = chosen.sides.some((side) => side.kind === "staged")
    ? where === "staged"
      ? "of the bundle"
      : "of the bundle or the database"
    : "of the tenant";
  return new AppError(
    "nothing-selected",
    ExitCode.usage,
    `${flag} "${item.text}" means no row ${whose}`,
    {
      hint: `${didYouMean(near)}Rows of ${item.table.name} are looked for by ${columnsOfItem(item)}.`,
      data: { item: item.text, near },
    },
  );
}

const enoughValues = 5000;

async function someValues(
  session: Session,
  { schema, sides }: Chosen,
  { table, columns }: RowsItem,
): Promise<readonly string[]> {
  const secret = schema.profile.secrets[table.name] ?? [];
  const values: string[] = [];
  for (const column of columns.filter((name) => !secret.includes(name))) {
    for (const side of sides.filter((one) => one.has(table.name, [column]))) {
      const rows = side.rows(table.name);
      if (rows === undefined) continue;
      const found = await sql<{ value: string }>`
        SELECT DISTINCT ${sql.id("r", column)}::text AS value FROM ${rows} AS r
         WHERE ${conjunction([side.owned(table, "r"), sql`${sql.id("r", column)} IS NOT NULL`])}
         LIMIT ${enoughValues}`.execute(session.db);
      values.push(...found.rows.map(({ value }) => value).filter(({ length }) => length < 200));
    }
  }
  return values;
}
