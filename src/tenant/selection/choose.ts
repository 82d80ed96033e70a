import { type RawBuilder, sql } from "kysely";
import type { ForeignKey, Table } from "../../catalog/catalog.ts";
import { columnList, columnsEqual, conjunction, disjunction } from "../../postgres/identifiers.ts";
import type { Session } from "../../postgres/session.ts";
import { keyOf, type TenantSchema } from "../../profile/classify.ts";
import { belongingKeys, isLeaf } from "./belonging.ts";
import type { ParsedSelection, SelectionItem } from "./items.ts";
import { type KeyTables, origin, type Why, why } from "./key-tables.ts";
import type { Side } from "./sides.ts";

/** Which rows a selection means, as keys in temporary tables and as conditions. */
export interface Chosen {
  readonly schema: TenantSchema;
  readonly selection: ParsedSelection;
  readonly keys: KeyTables;
  readonly sides: readonly Side[];
  /** Tables with a key that is excluded. */
  readonly excluded: ReadonlySet<string>;
  /** Tables that nothing refers to and that are meant as a whole: their keys stand nowhere. */
  readonly whole: ReadonlyMap<string, "selected" | "excluded">;
  /** The numbers of origins that each selected item has given: a group one, a row each its own. */
  readonly origins: readonly ItemOrigins[];
}

export interface ItemOrigins {
  readonly item: SelectionItem;
  readonly table: Table;
  readonly from: number;
  readonly to: number;
}

/**
 * Finds the rows that a selection means: those it names on any of the sides, and what hangs on
 * them on any of the sides. A key is meant as such: a site that was renamed since is one site. The
 * rows that these need are another matter, see `addNeeded`.
 *
 * @param only the tables to look at; all by default
 */
export async function chooseRows(
  session: Session,
  schema: TenantSchema,
  keys: KeyTables,
  sides: readonly Side[],
  selection: ParsedSelection,
  only?: ReadonlySet<string>,
): Promise<Chosen> {
  const choosing = new Choosing(session, schema, keys, sides, selection, only);
  await choosing.exclude();
  if (!selection.everything) await choosing.select();
  return choosing.chosen();
}

/** A condition on the row `alias`: it is selected or hangs on a selected row. Never NULL. */
export function isMeant(
  chosen: Chosen,
  side: Side,
  table: Table,
  alias: string,
): RawBuilder<boolean> {
  const { selection, whole, excluded } = chosen;
  const state = whole.get(table.name);
  if (state === "excluded") return sql`FALSE`;
  const all = selection.everything || state === "selected";
  const conditions = [notBefore(chosen, side, table, alias)];
  if (!all) conditions.push(hasKey(chosen, table, alias, ["selected", "belongs"]));
  else if (excluded.has(table.name)) {
    conditions.push(sql`NOT ${hasKey(chosen, table, alias, ["excluded"])}`);
  }
  return conjunction(conditions);
}

/** A condition on the row `alias`: it is meant, or a row that is chosen needs it. */
export function isChosen(
  chosen: Chosen,
  side: Side,
  table: Table,
  alias: string,
): RawBuilder<boolean> {
  const meant = isMeant(chosen, side, table, alias);
  if (chosen.selection.everything || isLeaf(chosen.schema, table.name)) return meant;
  return disjunction([meant, hasKey(chosen, table, alias, ["needed"])]);
}

export function hasKey(
  { keys }: Pick<Chosen, "keys">,
  table: Table,
  alias: string,
  reasons: readonly Why[],
): RawBuilder<boolean> {
  return sql`EXISTS (SELECT FROM ${keys.of(table.name)} AS kt
    WHERE ${columnsEqual("kt", keyOf(table), alias)} AND ${isOneOf("kt", reasons)})`;
}

function isOneOf(alias: string, reasons: readonly Why[]): RawBuilder<boolean> {
  return sql`${sql.id(alias, why)} IN (${sql.join(reasons.map((reason) => sql.lit(reason)))})`;
}

/** The row is no row of a log from before the time given. */
export function notBefore(
  { schema, selection }: Pick<Chosen, "schema" | "selection">,
  side: Side,
  table: Table,
  alias: string,
): RawBuilder<boolean> {
  return sql`NOT ${isBefore(schema, selection, side, table, alias)}`;
}

function isBefore(
  schema: TenantSchema,
  { since }: ParsedSelection,
  side: Side,
  table: Table,
  alias: string,
): RawBuilder<boolean> {
  const time = schema.profile.logs[table.name];
  if (since === undefined || time === undefined || !side.has(table.name, [time])) return sql`FALSE`;
  return sql`coalesce(${sql.id(alias, time)} < ${sql.lit(since)}::timestamptz, FALSE)`;
}

/** A condition on the row `alias`: the item names it. */
export function isNamed(item: SelectionItem, side: Side, alias: string): RawBuilder<boolean> {
  if (item.kind === "tables") return sql`TRUE`;
  const key = keyOf(item.table);
  const columns = item.columns
    .filter((column) => side.has(item.table.name, [column]))
    .map((column) => sql`coalesce(${sql.id(alias, column)}::text = ${sql.lit(item.value)}, FALSE)`);
  const texts = key.map((column) => sql`${sql.id(alias, column)}::text`);
  return disjunction([
    ...(item.byKey ? [sql`concat_ws(', ', ${sql.join(texts)}) = ${sql.lit(item.value)}`] : []),
    ...columns,
  ]);
}

class Choosing {
  readonly #session: Session;
  readonly #schema: TenantSchema;
  readonly #keys: KeyTables;
  readonly #sides: readonly Side[];
  readonly #selection: ParsedSelection;
  readonly #tables: readonly Table[];
  readonly #excluded = new Set<string>();
  readonly #selected = new Set<string>();
  readonly #whole = new Map<string, "selected" | "excluded">();
  readonly #origins: ItemOrigins[] = [];
  #lastOrigin = 0;

  constructor(
    session: Session,
    schema: TenantSchema,
    keys: KeyTables,
    sides: readonly Side[],
    selection: ParsedSelection,
    only: ReadonlySet<string> | undefined,
  ) {
    this.#session = session;
    this.#schema = schema;
    this.#keys = keys;
    this.#sides = sides;
    this.#selection = selection;
    this.#tables = schema.tables.filter(({ name }) => only === undefined || only.has(name));
  }

  chosen(): Chosen {
    return {
      schema: this.#schema,
      selection: this.#selection,
      keys: this.#keys,
      sides: this.#sides,
      excluded: this.#excluded,
      whole: this.#whole,
      origins: this.#origins,
    };
  }

  async exclude(): Promise<void> {
    for (const table of this.#tables) await this.#excludeOldLogs(table);
    const { exclude } = this.#selection;
    for (const item of exclude.filter(spreads)) await this.#seed(item, "excluded");
    await this.#spread("excluded", this.#excluded);
    for (const item of exclude.filter((item) => !spreads(item))) await this.#seed(item, "excluded");
  }

  async select(): Promise<void> {
    const { select } = this.#selection;
    for (const item of select.filter(spreads)) await this.#seed(item, "selected");
    await this.#spread("belongs", this.#selected);
    // Nothing comes along with these, so they are not there while it spreads.
    for (const item of select.filter((item) => !spreads(item))) await this.#seed(item, "selected");
  }

  /** What hangs on a row of a log goes out with it; where nothing can, a condition is enough. */
  async #excludeOldLogs(table: Table): Promise<void> {
    const { since } = this.#selection;
    if (since === undefined || this.#schema.profile.logs[table.name] === undefined) return;
    if (isLeaf(this.#schema, table.name)) return;
    const before = (side: Side) => isBefore(this.#schema, this.#selection, side, table, "r");
    if ((await this.#insertNamed(table, "excluded", sql`NULL::integer`, before)) > 0) {
      this.#excluded.add(table.name);
    }
  }

  async #seed(item: SelectionItem, reason: "excluded" | "selected"): Promise<void> {
    const tables = item.kind === "rows" ? [item.table] : item.tables;
    const from = this.#lastOrigin + 1;
    if (item.kind === "tables") this.#lastOrigin = from;
    for (const table of tables) {
      if (!this.#tables.includes(table)) continue;
      if (item.kind === "tables" && isLeaf(this.#schema, table.name)) {
        if (this.#whole.get(table.name) !== "excluded") this.#whole.set(table.name, reason);
        continue;
      }
      const number =
        item.kind === "tables"
          ? sql`${sql.lit(from)}::integer`
          : sql`(${sql.lit(from - 1)} + row_number() OVER ())::integer`;
      const named = (side: Side) =>
        conjunction([isNamed(item, side, "r"), this.#notBefore(side, table, "r")]);
      if ((await this.#insertNamed(table, reason, number, named)) === 0) continue;
      (reason === "excluded" ? this.#excluded : this.#selected).add(table.name);
      if (reason === "excluded") continue;
      if (item.kind === "rows") this.#lastOrigin = await this.#highestOrigin(table);
      this.#origins.push({ item, table, from, to: this.#lastOrigin });
    }
  }

  async #insertNamed(
    table: Table,
    reason: Why,
    number: RawBuilder<unknown>,
    named: (side: Side) => RawBuilder<boolean>,
  ): Promise<number> {
    const key = keyOf(table);
    const each = this.#sides.flatMap((side) => {
      const rows = side.rows(table.name);
      if (rows === undefined) return [];
      return sql`SELECT ${columnList(key, "r")} FROM ${rows} AS r
                  WHERE ${conjunction([side.owned(table, "r"), named(side)])}`;
    });
    if (each.length === 0) return 0;
    const found = await sql`
      INSERT INTO ${this.#keys.of(table.name)} (${columnList(key)}, ${sql.id(why)}, ${sql.id(origin)})
      SELECT ${columnList(key, "f")}, ${sql.lit(reason)}, ${number}
        FROM (${sql.join(each, sql` UNION `)}) AS f
      ON CONFLICT DO NOTHING`.execute(this.#session.db);
    return this.#analyzed(table.name, found.numAffectedRows);
  }

  async #highestOrigin(table: Table): Promise<number> {
    const { rows } = await sql<{ highest: number }>`
      SELECT max(${sql.id(origin)}) AS highest FROM ${this.#keys.of(table.name)}`.execute(
      this.#session.db,
    );
    return Math.max(this.#lastOrigin, Number(rows[0]?.highest ?? 0));
  }

  /** Adds what hangs on rows that are there, parents first; over and over only in a cycle. */
  async #spread(reason: "excluded" | "belongs", filled: Set<string>): Promise<void> {
    for (let found = 1; found > 0; ) {
      found = 0;
      for (const table of this.#tables) {
        if (this.#whole.has(table.name)) continue;
        let here = 0;
        for (const key of belongingKeys(this.#schema, table.name)) {
          if (!filled.has(key.to)) continue;
          for (const side of this.#sides) here += await this.#spreadAlong(key, table, side, reason);
          // Rows of its own table may follow it, too.
          if (here > 0) filled.add(table.name);
        }
        found += await this.#analyzed(table.name, here);
      }
      if (!this.#inCycle()) return;
    }
  }

  #inCycle(): boolean {
    const order = new Map(this.#schema.tables.map(({ name }, index) => [name, index]));
    const at = (name: string) => order.get(name) ?? 0;
    return this.#tables.some((table) =>
      belongingKeys(this.#schema, table.name).some((key) => at(key.to) >= at(table.name)),
    );
  }

  async #spreadAlong(
    key: ForeignKey,
    table: Table,
    side: Side,
    reason: "excluded" | "belongs",
  ): Promise<number> {
    const rows = side.rows(table.name);
    const parents = this.#parents(key, side, reason);
    if (rows === undefined || parents === undefined || !side.has(table.name, key.columns)) return 0;
    const found = await sql`
      INSERT INTO ${this.#keys.of(table.name)}
             (${columnList(keyOf(table))}, ${sql.id(why)}, ${sql.id(origin)})
      SELECT ${columnList(keyOf(table), "c")}, ${sql.lit(reason)}, ${sql.id("p", origin)}
        FROM (${parents}) AS p JOIN ${rows} AS c ON ${columnsEqual("c", key.columns, "p", key.toColumns)}
       WHERE ${conjunction([side.owned(table, "c"), this.#notBefore(side, table, "c")])}
      ON CONFLICT DO NOTHING`.execute(this.#session.db);
    return Number(found.numAffectedRows ?? 0n);
  }

  /** The columns that children refer to, of the rows that have been found. */
  #parents(
    key: ForeignKey,
    child: Side,
    reason: "excluded" | "belongs",
  ): RawBuilder<unknown> | undefined {
    const parent = this.#schema.catalog.tables.get(key.to);
    if (parent === undefined) return undefined;
    const reasons: readonly Why[] = reason === "excluded" ? ["excluded"] : ["selected", "belongs"];
    const own = keyOf(parent);
    const from = sql`${this.#keys.of(key.to)} AS k`;
    if (key.toColumns.every((column) => own.includes(column))) {
      return sql`SELECT ${columnList(key.toColumns, "k")}, ${sql.id("k", origin)} FROM ${from}
                  WHERE ${isOneOf("k", reasons)}`;
    }
    // A staged row may hang on one that is live alone; a live one's parent is always live.
    const sides = this.#sides.filter(
      (side) =>
        (child.kind === "staged" || side.kind === "live") && side.has(key.to, key.toColumns),
    );
    const each = sides.flatMap((side) => {
      const rows = side.rows(key.to);
      if (rows === undefined) return [];
      return sql`SELECT ${columnList(key.toColumns, "r")}, ${sql.id("k", origin)}
                   FROM ${from} JOIN ${rows} AS r ON ${columnsEqual("r", own, "k")}
                  WHERE ${conjunction([isOneOf("k", reasons), side.owned(parent, "r")])}`;
    });
    return each.length === 0 ? undefined : sql`${sql.join(each, sql` UNION ALL `)}`;
  }

  #notBefore(side: Side, table: Table, alias: string): RawBuilder<boolean> {
    return notBefore({ schema: this.#schema, selection: this.#selection }, side, table, alias);
  }

  /** The planner would take an unknown table for a small one. */
  async #analyzed(table: string, inserted: bigint | number | undefined): Promise<number> {
    const found = Number(inserted ?? 0);
    if (found > 0) await sql`ANALYZE ${this.#keys.of(table)}`.execute(this.#session.db);
    return found;
  }
}

function spreads(item: SelectionItem): boolean {
  return item.kind === "rows" || item.spreads;
}
