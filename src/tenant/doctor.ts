import { AppError, ExitCode } from "../errors.ts";
import type { DoctorFinding } from "../finding.ts";
import { type ConnectionOptions, type Session, withSession } from "../postgres/session.ts";
import type { ProgressListener } from "../progress.ts";
import { checkRows } from "./doctor-rows.ts";
import { checkSchema } from "./doctor-schema.ts";
import { checkRights, checkServer, list } from "./doctor-server.ts";
import { type OpenSchema, openSchema, type SchemaOptions } from "./open-schema.ts";

export interface DoctorReport {
  readonly findings: readonly DoctorFinding[];
  readonly problems: number;
  readonly warnings: number;
  /** 0 without a problem; 2 when the schema is not classified; else 6, 7 or 8 by what is wrong. */
  readonly exitCode: ExitCode;
}

/**
 * Looks for what would make an export or an import fail, and changes nothing.
 *
 * @throws {AppError} exit 7 or 2 when there is no connection, so that nothing can be looked at
 */
export function examine(
  connection: ConnectionOptions,
  options: SchemaOptions,
  progress: ProgressListener,
): Promise<DoctorReport> {
  return withSession(connection, async (session) => {
    const findings: DoctorFinding[] = [...(await checkServer(session, connection.databaseUrl))];
    const { schema, finding } = await classified(session, options);
    if (finding !== undefined) findings.push(finding);
    if (schema !== undefined) {
      const { findings: rights, readable } = await checkRights(session, schema);
      findings.push(...rights, ...(await checkSchema(session, schema)));
      findings.push(...(await checkRows(session, schema, readable, progress)));
    }
    return doctorReport(findings);
  });
}

/** Counts what was found; the exit code is the one of the first problem. */
export function doctorReport(findings: readonly DoctorFinding[]): DoctorReport {
  const problems = findings.filter((one) => one.level === "problem");
  const [first] = problems.map((one) => exitCodes.get(one.check) ?? ExitCode.database);
  const unclassified = problems.some((one) => one.check === "classification");
  return Object.freeze({
    findings,
    problems: problems.length,
    warnings: findings.filter((one) => one.level === "warning").length,
    exitCode: unclassified ? ExitCode.usage : (first ?? ExitCode.done),
  });
}

/** Where a problem is not the database's. */
const exitCodes: ReadonlyMap<string, ExitCode> = new Map([
  ["backup-folder", ExitCode.storage],
  ["backup-space", ExitCode.storage],
  ["backup-s3", ExitCode.storage],
  ["backup-key", ExitCode.key],
]);

/** Goes on without what is not classified, if that is all that is wrong. */
async function classified(
  session: Session,
  options: SchemaOptions,
): Promise<{ schema?: OpenSchema; finding?: DoctorFinding }> {
  try {
    const schema = await openSchema(session, options);
    const { unclassified } = schema;
    const belonging = `${schema.tables.length} belong to tenants, by profile "${schema.profile.name}"`;
    const finding: DoctorFinding =
      unclassified.length === 0
        ? {
            level: "ok",
            check: "classification",
            message: `all ${schema.catalog.tables.size} tables are accounted for: ${belonging}`,
          }
        : {
            level: "warning",
            check: "classification",
            message: `nothing classifies ${list(unclassified)}, which is accepted: ${unclassified.length === 1 ? "its" : "their"} rows are in no bundle; ${belonging}`,
            details: unclassified,
          };
    return { schema, finding };
  } catch (error) {
    if (!(error instanceof AppError) || error.exitCode !== ExitCode.usage) throw error;
    // Not the schema's fault, and nothing can be said about the database without a profile.
    if (error.code === "invalid-profile") throw error;
    const finding: DoctorFinding = {
      level: "problem",
      check: "classification",
      message: error.message,
      ...(error.hint === undefined ? {} : { hint: error.hint }),
      details: error.details,
    };
    if (options.acceptUnclassified) return { finding };
    const again = await classified(session, { ...options, acceptUnclassified: true });
    return again.schema === undefined ? { finding } : { schema: again.schema, finding };
  }
}
