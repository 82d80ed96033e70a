import { createHash } from "node:crypto";
import { type RawBuilder, sql } from "kysely";
import { relation } from "../catalog/ownership.ts";
import { AppError, ExitCode } from "../errors.ts";
import { columnList, columnsEqual } from "../postgres/identifiers.ts";
import type { Session } from "../postgres/session.ts";
import type { PlanOptions } from "./plan.ts";
import { rowsOut } from "./rows-out.ts";
import type { StagedBundle, StagedTable } from "./staging.ts";

/**
 * What a plan was made of, as one short word: the bundle, the options that shape the plan, what
 * happens to which row, and the whole of every live row that is altered, deleted, or stands for
 * one of the bundle's. Rows that the plan leaves alone do not count, and neither do sequences: live
 * work goes on.
 *
 * The rows are summed up at the server, in any order, so that it takes no memory.
 */
export async function hashPlan(
  session: Session,
  bundle: StagedBundle,
  options: PlanOptions,
  settled: boolean,
): Promise<string> {
  const { mode, keepInFlight, expireCredentials, onCollision, disableTriggers } = options;
  const { select = [], exclude = [], since } = options.selection ?? {};
  const { slug, name, withAudit } = options.clone ?? {};
  const hash = createHash("sha256");
  const add = (...values: readonly unknown[]) => hash.update(`${JSON.stringify(values)}\n`);
  add("pgtenant plan 1", bundle.sha256, bundle.header.tenant.id);
  add(mode, keepInFlight, expireCredentials, onCollision, disableTriggers);
  add([...select].sort(), [...exclude].sort(), since ?? null);
  add(slug ?? null, name ?? null, withAudit ?? null, options.audit ?? false);
  add([...options.set].sort(), [...options.leaveOut].sort());
  for (const staged of bundle.tables) {
    add(staged.table.name, ...(await sumsOf(session, staged, options, settled)));
  }
  return hash.digest("hex").slice(0, 20);
}

/**
 * Refuses a plan that is not the one which the operator has seen.
 *
 * @throws {AppError} exit 4
 */
export function refuseOtherPlan(hash: string, wanted: string | undefined): void {
  if (wanted === undefined || wanted === hash) return;
  throw new AppError(
    "plan-changed",
    ExitCode.refused,
    `this is not the plan "${wanted}" any more, it is "${hash}": the live rows concerned, the flags or the bundle are not those that it was made of; nothing was written`,
    {
      hint: "Look at a new plan with --dry-run, and give its hash.",
      data: { wanted, hash },
    },
  );
}

async function sumsOf(
  session: Session,
  staged: StagedTable,
  options: PlanOptions,
  settled: boolean,
): Promise<readonly string[]> {
  const { table, key, stage, match, extra } = staged;
  // Rows that are inserted are those of the bundle that are in no other list; but a selection also
  // depends on the live rows. New keys, on the other hand, are drawn anew each time.
  const chosen = options.selection !== undefined && options.clone === undefined;
  const lines: RawBuilder<unknown>[] = [
    // Whether a row that stays as it is differs from the bundle's makes no other plan.
    line(
      "row",
      sql`ROW(${columnList(key, "m")}, CASE WHEN m."pgtenant$action" IN ('same', 'keep')
            THEN 'stays' ELSE m."pgtenant$action" END)`,
      sql`${match} AS m`,
    ),
    line(
      "altered",
      sql`("l".*)`,
      sql`${match} AS m JOIN ${relation(table)} AS l ON ${columnsEqual("l", key, "m")}
           WHERE m."pgtenant$action" IN ('update', 'relink')`,
    ),
    line(
      "deleted",
      sql`("l".*)`,
      sql`${extra} AS e JOIN ${relation(table)} AS l ON ${columnsEqual("l", key, "e")}`,
    ),
    ...(chosen ? [line("staged", sql`ROW(${columnList(key, "s")})`, sql`${stage} AS s`)] : []),
    ...(settled ? rowsOut(staged).map(({ row, source }) => line("out", row, source)) : []),
  ];
  const { rows } = await sql<{ staged: string; lines: string; one: string; two: string }>`
    SELECT (SELECT count(*) FROM ${stage})::text AS staged, count(*)::text AS lines,
           coalesce(sum(hashtextextended(line, 1)), 0)::text AS one,
           coalesce(sum(hashtextextended(line, 2)), 0)::text AS two
      FROM (${sql.join(lines, sql` UNION ALL `)}) AS each`.execute(session.db);
  return rows.flatMap((row) => [row.staged, row.lines, row.one, row.two]);
}

function line(what: string, row: RawBuilder<unknown>, source: RawBuilder<unknown>) {
  return sql`SELECT concat(${sql.lit(`${what} `)}, ${row}::text) AS line FROM ${source}`;
}
