import { AppError, ExitCode } from "../errors.ts";
import type { ImportOptions } from "./import-types.ts";
import type { TargetMatch } from "./target-match.ts";

/** A table of the bundle, with the values that the target has no column for. */
export interface StagedWithout {
  readonly match: TargetMatch;
  readonly rows: number;
  /** By column: the first row with a value in it. */
  readonly homeless: ReadonlyMap<string, number>;
}

/** Values of the bundle that are left out, since the target has no place for them. */
export interface LostValues {
  readonly table: string;
  /** Absent when the target lacks the whole table. */
  readonly column?: string;
  /** Of a table: how many rows; of a column: the first row with a value. */
  readonly row: number;
}

/**
 * Refuses to lose values because the target has no column or table for them.
 *
 * @returns those that may be left out
 * @throws {AppError} exit 4, naming each place, unless they may be left out
 */
export function refuseHomeless(
  staged: readonly StagedWithout[],
  options: Pick<ImportOptions, "leaveOut">,
): readonly LostValues[] {
  const all = staged.flatMap(({ match, homeless, rows }): LostValues[] => {
    const table = match.source.name;
    if (match.target === undefined) return rows === 0 ? [] : [{ table, row: rows }];
    return [...homeless].map(([column, row]) => ({ table, column, row }));
  });
  const allowed = new Set(options.leaveOut);
  const lost = all
    .filter((values) => !allowed.has(placeOf(values)))
    .map((values) => ({
      place: placeOf(values),
      detail:
        values.column === undefined
          ? `${values.table}: ${values.row} row(s), and the target has no such table`
          : `${placeOf(values)}: a value in row ${values.row}, and the target has no such column`,
    }));
  const [first] = lost;
  if (first === undefined) return all;
  throw new AppError(
    "no-place-for-value",
    ExitCode.refused,
    `the target has no place for ${lost.length === 1 ? `the bundle's "${first.place}"` : `${lost.length} tables or columns of the bundle`}`,
    {
      hint: `Migrate the target first; or leave the values out by name: ${lost.map(({ place }) => `--leave-out ${shellWord(place)}`).join(" ")}`,
      details: lost.map(({ detail }) => detail),
      data: { leaveOut: lost.map(({ place }) => place) },
    },
  );
}

function placeOf({ table, column }: LostValues): string {
  return column === undefined ? table : `${table}.${column}`;
}

function shellWord(word: string): string {
  return /^[\w.-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
