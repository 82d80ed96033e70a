import type { OpenBackup } from "../../backup/open-backup.ts";
import { restoreDatabase } from "../../backup/restore.ts";
import type { RestoreResult } from "../../backup/restore-types.ts";
import { withTargetLock } from "../../backup/target-lock.ts";
import { rememberVerified } from "../../backup/verify-backup.ts";
import { AppError, ExitCode } from "../../errors.ts";
import { withMaintenanceSession } from "../../postgres/maintenance-session.ts";
import { maintenanceUrl } from "../../postgres/maintenance-url.ts";
import { operatorName } from "../../postgres/process-identity.ts";
import { type ConnectionOptions, type Session, withSession } from "../../postgres/session.ts";
import { refuseStandby } from "../../postgres/standby.ts";
import { sweepTempFolders } from "../../postgres/temp-folder.ts";
import { durableSettings, withThrowawayServer } from "../../postgres/throwaway-server.ts";
import { type OpenSchema, openSchema } from "../../tenant/open-schema.ts";
import { toolVersion } from "../../version.ts";
import { countWords, sizeWords, timeWords } from "../words.ts";
import { checkChains } from "./check-chains.ts";
import { checklistOf } from "./checklist.ts";
import { diskOf, serverDisk, spaceFor } from "./disk-space.ts";
import {
  DrillChecks,
  drillFailure,
  type Finding,
  type RunningCheck,
  rounded,
} from "./drill-checks.ts";
import {
  describe,
  foundFinding,
  measuredAs,
  readFinding,
  rowsFinding,
  withFirstTable,
} from "./drill-findings.ts";
import type { DrillCheckName, DrillReport } from "./drill-report.ts";
import type { DrillRequest, Scratch } from "./drill-request.ts";
import { checkForeignKeys } from "./foreign-keys.ts";
import { downloadCopies } from "./off-site.ts";
import {
  clearAway,
  drillDatabaseName,
  drillIdAt,
  drillLockName,
  requireGone,
  sweepDrills,
} from "./scratch.ts";
import { drillTenant } from "./tenant-drill.ts";
import { unpackAndRemove } from "./unpack-files.ts";

/**
 * Restores a backup into a scratch database and looks at everything in it; then brings a tenant
 * back in it. The live database is not touched, and not even connected to. What is found is in the
 * report: a failed drill is a result, no error.
 *
 * @throws {AppError} exit 5 when another drill of this database is at work on the server
 */
export async function drill(request: DrillRequest): Promise<DrillReport> {
  return await new Drill(request).run();
}

class Drill {
  readonly #request: DrillRequest;
  readonly #checks: DrillChecks;
  readonly #startedAt = new Date();
  readonly #started = performance.now();
  readonly #database: string;
  readonly #notes: string[] = [];
  #backup: OpenBackup | undefined;
  #version: string | null = null;
  #rolesCreated: readonly string[] = [];
  #rtoSeconds: number | null = null;

  constructor(request: DrillRequest) {
    this.#request = request;
    this.#checks = new DrillChecks(request.signal, request.onStart, request.onCheck);
    this.#database = drillDatabaseName(request.database, this.#startedAt);
  }

  async run(): Promise<DrillReport> {
    const { findBackup, embedded, tempFolder } = this.#request;
    await sweepTempFolders(tempFolder);
    const backup = await this.#checks.run("found", findBackup, foundFinding);
    if (backup !== undefined) {
      this.#backup = backup;
      this.#notes.push(...backup.warnings);
      const found = this.#checks.all.at(-1)?.seconds ?? 0;
      await this.#offSite(backup);
      await (embedded ? this.#onOwnServer(backup, found) : this.#onServer(backup, found));
    }
    return this.#report();
  }

  async #onServer(backup: OpenBackup, found: number): Promise<void> {
    const { connection, database, signal } = this.#request;
    const server = this.#checks.begin("server");
    let locked = false;
    try {
      await withTargetLock(connection, drillLockName(database), "drill", async (held) => {
        const version = await withMaintenanceSession(connection, this.#database, async (admin) => {
          await refuseStandby(admin, "Drill on a server of the drill's own, with --embedded.");
          for (const name of await sweepDrills(admin, database)) {
            this.#notes.push(`database "${name}", left by a drill that was ended, was dropped`);
          }
          return admin.serverVersion;
        });
        locked = true;
        server.passed({ message: `PostgreSQL ${version}, where the live database is` });
        const scratch: Scratch = {
          kind: "server",
          connection,
          version,
          database: this.#database,
          signal: AbortSignal.any([signal, held.lost]),
          disk: () => withMaintenanceSession(connection, this.#database, serverDisk),
        };
        try {
          await this.#drillIn(scratch, backup, found);
        } finally {
          await this.#clear(scratch);
        }
      });
    } catch (error) {
      // Another drill is no failure of this one: its result is the one that counts.
      if (locked || (error instanceof AppError && error.exitCode === ExitCode.locked)) throw error;
      server.failed(error);
    }
  }

  async #onOwnServer(backup: OpenBackup, found: number): Promise<void> {
    const { programs, connection, signal } = this.#request;
    const server = this.#checks.begin("server");
    let started = false;
    let folder = "";
    try {
      const { binDir, path } = programs;
      // What is measured is to be what a restore in earnest takes, which waits for the disk.
      const options = { binDir, path, settings: durableSettings };
      await withThrowawayServer(options, async ({ url, version, dataDir }) => {
        started = true;
        folder = dataDir;
        server.passed({ message: `PostgreSQL ${version} of the drill's own, in ${dataDir}` });
        const { applicationName } = connection;
        const scratch: Scratch = {
          kind: "embedded",
          // It speaks no TLS, whatever PGSSLMODE tells the programs.
          connection: { databaseUrl: `${url}?sslmode=disable`, applicationName, signal },
          version,
          database: this.#database,
          signal,
          disk: () => diskOf(dataDir),
        };
        await this.#drillIn(scratch, backup, found);
      });
    } catch (error) {
      if (started) throw error;
      server.failed(error);
      return;
    }
    await this.#checks.run(
      "cleared",
      () => requireGone(folder),
      () => ({ message: `the server was ended, and ${folder} is gone` }),
    );
  }

  /** @param found how long it took to find the backup, in seconds */
  async #drillIn(scratch: Scratch, backup: OpenBackup, found: number): Promise<void> {
    this.#version = scratch.version;
    const restored = await this.#restore(scratch, backup);
    if (restored === undefined) {
      for (const check of ["foreign-keys", "chain", "tenant"] as const) {
        this.#checks.notChecked(check, "nothing was restored that could be looked at");
      }
      await this.#files(backup);
      this.#checks.notChecked("rto", "nothing was restored");
      return;
    }
    this.#notes.push(...restored.notes);
    this.#rtoSeconds = found + restored.seconds;
    const { databaseUrl } = scratch.connection;
    const connection = {
      ...scratch.connection,
      databaseUrl: maintenanceUrl(databaseUrl, scratch.database),
    };
    await this.#foreignKeys(connection);
    const misfit = await this.#chain(connection);
    await this.#files(backup);
    await this.#tenant(connection, misfit);
    await this.#rto(this.#rtoSeconds);
  }

  async #restore(scratch: Scratch, backup: OpenBackup): Promise<RestoreResult | undefined> {
    const { keys, programs, jobs, tempFolder, progress, warn } = this.#request;
    const checks = this.#checks;
    let running = checks.begin("read");
    const next = (name: DrillCheckName, finding: Finding) => {
      running.passed(finding);
      running = checks.begin(name);
    };
    try {
      const result = await restoreDatabase({
        backup,
        connection: scratch.connection,
        keys,
        programs,
        mode: "into",
        into: scratch.database,
        disconnect: false,
        jobs,
        tempFolder,
        signal: scratch.signal,
        progress,
        onPlan: async (plan) => {
          next("space", readFinding(plan, backup));
          const space = await spaceFor(scratch.disk, backup.manifest?.source.databaseBytes);
          if (space.known) running.passed(space);
          else running.notChecked(space.message);
          running = checks.begin("restored");
        },
        onRoles: (created) => {
          this.#rolesCreated = created;
        },
        onStep: (step) => {
          if (step !== "count") return;
          const { database, version } = scratch;
          next("rows", { message: `into database "${database}" of PostgreSQL ${version}` });
        },
      });
      await rememberVerified(backup, { signal: scratch.signal, warn }, { result: "good" });
      rowsFinding(result, running);
      return result;
    } catch (thrown) {
      const { aborted, reason } = scratch.signal;
      const error = withFirstTable(aborted && !this.#request.signal.aborted ? reason : thrown);
      const whole = !(error instanceof AppError) || error.exitCode !== ExitCode.invalidInput;
      if (!whole) {
        const failed = { result: "failed", problem: error.message } as const;
        await rememberVerified(backup, { signal: scratch.signal, warn }, failed);
      }
      running.failed(error);
      return undefined;
    } finally {
      progress.stop();
    }
  }

  async #foreignKeys(connection: ConnectionOptions): Promise<void> {
    const look = () => withSession(connection, checkForeignKeys);
    await this.#checks.run("foreign-keys", look, (finding) => finding);
  }

  /** @returns why the profile does not fit the database; undefined when it does */
  async #chain(connection: ConnectionOptions): Promise<AppError | undefined> {
    const running = this.#checks.begin("chain");
    try {
      return await withSession(connection, (session) => this.#chainIn(session, running));
    } catch (error) {
      running.failed(error);
      return undefined;
    }
  }

  async #chainIn(session: Session, running: RunningCheck): Promise<AppError | undefined> {
    let schema: OpenSchema;
    try {
      schema = await openSchema(session, { ...this.#request.schema, acceptUnclassified: true });
    } catch (error) {
      if (!(error instanceof AppError) || error.exitCode !== ExitCode.usage) throw error;
      running.notChecked(`the profile does not fit: ${error.message}`);
      return error;
    }
    this.#notes.push(...schema.warnings);
    if (schema.tables.some(({ name }) => schema.profile.chain[name] !== undefined)) {
      running.passed(await checkChains(session, schema));
    } else running.notChecked(`the profile "${schema.profile.name}" names no chained table`);
    return undefined;
  }

  async #tenant(connection: ConnectionOptions, misfit: AppError | undefined): Promise<void> {
    const { findBundle, schema, keys, signal } = this.#request;
    if (findBundle === null) {
      this.#checks.notChecked("tenant", "--no-bundle was given");
      return;
    }
    const running = this.#checks.begin("tenant");
    try {
      const bundle = await findBundle();
      if (bundle === undefined) {
        running.notChecked(
          "there is no bundle of a whole tenant below tenants/; pgtenant export --all makes some",
        );
        return;
      }
      if (misfit !== undefined) throw misfit;
      running.passed(await drillTenant({ connection, schema, bundle, keys }));
    } catch (error) {
      signal.throwIfAborted();
      running.failed(error);
    }
  }

  async #files(backup: OpenBackup): Promise<void> {
    const { keys, signal, tempFolder, programs } = this.#request;
    if (backup.part("files") === undefined) {
      const why = "the backup holds no PKI or configuration files; BACKUP_INCLUDE_PATHS names them";
      this.#checks.notChecked("files", why);
      return;
    }
    const unpack = () =>
      unpackAndRemove(backup, { keys, signal, tempFolder, searchPath: programs.path });
    await this.#checks.run("files", unpack, ({ files, notes }) => ({
      message: `${countWords(files, "file")} unpacked, and removed again`,
      details: notes,
    }));
  }

  /** The copy in S3 is the one that is left when the building is gone. */
  async #offSite(backup: OpenBackup): Promise<void> {
    const { stores, signal } = this.#request;
    const away = stores.filter(({ kind }) => kind === "s3");
    const { id, manifest } = backup;
    if (away.length === 0) {
      this.#checks.notChecked("off-site", "no bucket is set: BACKUP_S3_BUCKET names one");
      return;
    }
    if (id === undefined || manifest === undefined) {
      this.#checks.notChecked("off-site", `${backup.name} has no manifest to compare copies with`);
      return;
    }
    const download = () => downloadCopies(away, id, signal);
    const places = away.map(({ place }) => place).join(", ");
    await this.#checks.run("off-site", download, (bytes) => ({
      message: `${sizeWords(bytes)} downloaded from ${places}, as the manifest says`,
    }));
  }

  async #rto(seconds: number): Promise<void> {
    const { rtoSeconds } = this.#request;
    const measured = `the restore took ${timeWords(seconds)}, and ${timeWords(rtoSeconds)} are promised`;
    const compare = async () => {
      if (seconds <= rtoSeconds) return;
      throw drillFailure("rto-missed", ExitCode.different, measured, {
        hint: "Take --format custom or directory for backups, and more --jobs; or promise what can be kept with BACKUP_RTO_HOURS.",
      });
    };
    await this.#checks.run("rto", compare, () => ({ message: measured }));
  }

  async #clear({ connection, database }: Scratch): Promise<void> {
    const clear = () => clearAway(connection, database, this.#rolesCreated);
    if (this.#request.signal.aborted) {
      // What is left all the same, the next drill drops.
      await clear().catch(() => undefined);
      return;
    }
    await this.#checks.run("cleared", clear, (left) => ({
      message: `database "${database}" was dropped`,
      details: left,
    }));
  }

  #report(): DrillReport {
    const { database, embedded, rtoSeconds, rpoSeconds } = this.#request;
    const backup = this.#backup === undefined ? undefined : describe(this.#backup);
    const age =
      backup?.createdAt == null
        ? null
        : Math.max(0, (+this.#startedAt - Date.parse(backup.createdAt)) / 1000);
    const failure = this.#checks.firstFailure;
    return Object.freeze({
      drill: 1 as const,
      id: drillIdAt(this.#startedAt),
      tool: `pgtenant ${toolVersion}`,
      by: operatorName(),
      startedAt: this.#startedAt.toISOString(),
      seconds: rounded((performance.now() - this.#started) / 1000),
      passed: failure === undefined,
      exitCode: failure?.error?.exitCode ?? ExitCode.done,
      problem: failure?.message ?? null,
      hint: failure?.hint ?? null,
      database,
      backup: backup ?? null,
      scratch: {
        kind: embedded ? ("embedded" as const) : ("server" as const),
        version: this.#version,
        database: this.#database,
      },
      rto: measuredAs(this.#rtoSeconds, rtoSeconds),
      rpo: measuredAs(age, rpoSeconds),
      checks: this.#checks.all,
      checklist: checklistOf(this.#checks, backup),
      notes: this.#notes,
    });
  }
}
