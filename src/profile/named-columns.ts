import { type Catalog, columnOf } from "../catalog/catalog.ts";
import type { Profile } from "./profile.ts";

/** A column that an entry of the profile names, such as `oneWay`. */
interface NamedColumn {
  readonly entry: string;
  readonly table: string;
  readonly column: string;
}

/**
 * The first column that the profile's rules are about and that its table lacks; a rule about no
 * column would do nothing. Tables that the database lacks do not count.
 */
export function missingColumn(catalog: Catalog, profile: Profile): NamedColumn | undefined {
  return namedColumns(profile).find(({ table: name, column }) => {
    const table = catalog.tables.get(name);
    return table !== undefined && columnOf(table, column) === undefined;
  });
}

function namedColumns(profile: Profile): readonly NamedColumn[] {
  const { oneWay, oneWayWith, inFlight, expire, secrets, chain, logs } = profile;
  const named = <T>(
    entry: string,
    rules: Readonly<Record<string, T>>,
    columnsOf: (rule: T) => readonly string[],
  ) =>
    Object.entries(rules).flatMap(([table, rule]) =>
      columnsOf(rule).map((column) => ({ entry, table, column })),
    );
  return [
    ...named("oneWay", oneWay, (columns) => columns),
    ...named("oneWayWith", oneWayWith, (columns) => columns),
    ...named("inFlight", inFlight, ({ column, set, clear }) => [
      column,
      ...Object.keys(set),
      ...clear,
    ]),
    ...named("expire", expire, ({ now, set }) => [...now, ...Object.keys(set)]),
    ...named("secrets", secrets, (columns) => columns),
    ...named("chain", chain, ({ order, previous, own }) => [order, previous, own]),
    ...named("logs", logs, (column) => [column]),
  ];
}
