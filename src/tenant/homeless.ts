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

/**
 * Refuses to lose values because the target has no column or table for them.
 *
 * @throws {AppError} exit 4, naming each place, unless they may be left out
 */
export function refuseHomeless(
  staged: readonly StagedWithout[],
  options: Pick<ImportOptions, "leaveOut">,
): void {
  const allowed = new Set(options.leaveOut);
  const lost: { place: string; detail: string }[] = [];
  for (const { match, homeless, rows } of staged) {
    const table = match.source.name;
    if (match.target === undefined) {
      if (rows > 0 && !allowed.has(table)) {
        lost.push({
          place: table,
          detail: `${table}: ${rows} row(s), and the target has no such table`,
        });
      }
      continue;
    }
    for (const [column, row] of homeless) {
      const place = `${table}.${column}`;
      if (!allowed.has(place)) {
        lost.push({
          place,
          detail: `${place}: a value in row ${row}, and the target has no such column`,
        });
      }
    }
  }
  const [first] = lost;
  if (first === undefined) return;
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

function shellWord(word: string): string {
  return /^[\w.-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
