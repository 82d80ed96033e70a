import { AppError, ExitCode } from "../errors.ts";
import { clientConnection } from "../postgres/client-connection.ts";
import { type ClientPrograms, findClientPrograms } from "../postgres/client-programs.ts";
import { databaseError } from "../postgres/database-errors.ts";
import { withMaintenanceSession } from "../postgres/maintenance-session.ts";
import { databaseOfUrl, maintenanceUrl } from "../postgres/maintenance-url.ts";
import { type Session, withSession } from "../postgres/session.ts";
import { refuseStandby } from "../postgres/standby.ts";
import { subscriptionsOf } from "../postgres/subscriptions.ts";
import { applyDatabaseSettings, applyRoles } from "./apply-globals.ts";
import { type ProgramContext, runToEnd } from "./client-run.ts";
import { dumpDatabaseSettings } from "./dump-globals.ts";
import { type Globals, readGlobals } from "./globals.ts";
import { loadDump } from "./load-dump.ts";
import { totalsOf } from "./manifest.ts";
import { setsTooMuch } from "./older-server.ts";
import { type PreparedDump, prepareDump } from "./prepare-dump.ts";
import { readPart } from "./read-part.ts";
import { behindRestored, rowsDiffer, withRoleHint } from "./restore-errors.ts";
import { restoreApplication, takeOverRestores } from "./restore-session.ts";
import type { RestorePlan, RestoreRequest, RestoreResult } from "./restore-types.ts";
import {
  createScratch,
  dropDatabase,
  keptName,
  scratchName,
  sweepScratches,
} from "./scratch-database.ts";
import {
  type Client,
  clientsOf,
  databaseExists,
  endClients,
  refuseClients,
  refusePrepared,
  swapDatabases,
} from "./swap-databases.ts";
import { countTableRows, rowDifferences } from "./table-rows.ts";

/**
 * Restores a database. The backup is read to its end and found whole before anything is touched;
 * then it is loaded beside the target, counted, and only then put in its place. The caller holds
 * the target's lock.
 *
 * @throws {AppError} exit 3 when the backup is not whole or its rows are not those of the manifest,
 *   4 when the restore is refused, 6 without a key that fits, 7 and 8 as the server and the stores
 *   have it; the target is then what it was
 */
export async function restoreDatabase(request: RestoreRequest): Promise<RestoreResult> {
  const started = performance.now();
  const target = request.into ?? databaseOfUrl(request.connection.databaseUrl);
  return await withMaintenanceSession(request.connection, target, async (admin, maintenance) => {
    try {
      return await new Restore(request, admin, maintenance, target, started).run();
    } catch (error) {
      throw databaseError(error);
    }
  });
}

class Restore {
  readonly #request: RestoreRequest;
  readonly #admin: Session;
  /** The URL of the database that the admin session is connected to. */
  readonly #maintenance: string;
  readonly #target: string;
  readonly #started: number;
  readonly #notes: string[] = [];

  constructor(
    request: RestoreRequest,
    admin: Session,
    maintenance: string,
    target: string,
    started: number,
  ) {
    this.#request = request;
    this.#admin = admin;
    this.#maintenance = maintenance;
    this.#target = target;
    this.#started = started;
  }

  async run(): Promise<RestoreResult> {
    const { backup, mode, onStep, signal } = this.#request;
    await refuseStandby(this.#admin);
    await takeOverRestores(this.#admin, this.#target);
    const swept = await sweepScratches(this.#admin, this.#target);
    for (const name of swept) {
      this.#notes.push(`database "${name}", left by a restore that was ended, was dropped`);
    }
    const programs = await this.#findPrograms();
    onStep("check", "checking that the backup is whole");
    const dump = await prepareDump(backup, {
      keys: this.#request.keys,
      programs,
      environment: this.#request.programs.environment,
      inPlace: mode === "in-place",
      // Over one connection then, and without a file.
      jobs: setsTooMuch(programs.major, this.#serverMajor) ? 1 : this.#request.jobs,
      tempFolder: this.#request.tempFolder,
      signal,
      onBytes: (bytes) => this.#request.progress.advance("checking", bytes),
    });
    try {
      return await this.#restore(programs, dump);
    } finally {
      await dump.remove();
    }
  }

  async #restore(programs: ClientPrograms, dump: PreparedDump): Promise<RestoreResult> {
    const { mode } = this.#request;
    this.#request.progress.stop();
    this.#refuseNewer(dump);
    const globals = await this.#readGlobals();
    const plan = await this.#makePlan(dump);
    await this.#request.onPlan(plan);
    if (plan.targetExists && mode !== "into") await refusePrepared(this.#admin, this.#target);
    if (plan.targetExists && !this.#request.disconnect && mode !== "into") {
      refuseClients(this.#target, await this.#clients());
    }
    const roles =
      globals === undefined ? { created: [], notes: [] } : await applyRoles(this.#admin, globals);
    this.#request.onRoles?.(roles.created);
    this.#notes.push(...roles.notes);
    const counted = await (mode === "in-place"
      ? this.#replaceInPlace(programs, dump, globals)
      : this.#besideAndSwap(programs, dump, globals, plan));
    return {
      plan,
      tables: counted?.tables ?? null,
      rows: counted?.rows ?? null,
      rolesCreated: roles.created,
      notes: this.#notes,
      seconds: (performance.now() - this.#started) / 1000,
    };
  }

  /** Programs that can talk to this server and read what pg_dump of the backup's version wrote. */
  async #findPrograms(): Promise<ClientPrograms> {
    const written = this.#request.backup.manifest?.source.pgDump;
    const { binDir, path } = this.#request.programs;
    const serverMajor = Math.max(this.#serverMajor, Number.parseInt(written ?? "0", 10));
    return await findClientPrograms({ binDir, path, serverMajor, newest: written === undefined });
  }

  get #serverMajor(): number {
    return Math.floor(this.#admin.serverVersionNumber / 10_000);
  }

  #refuseNewer(dump: PreparedDump): void {
    const theirs = dump.server;
    const ours = this.#admin.serverVersion;
    if (theirs === undefined || Number.parseInt(theirs, 10) <= Number.parseInt(ours, 10)) return;
    throw new AppError(
      "newer-dump",
      ExitCode.refused,
      `the backup is of PostgreSQL ${theirs}, and this server is older: ${ours}`,
      { hint: `Restore it on a server of version ${Number.parseInt(theirs, 10)} or newer.` },
    );
  }

  async #readGlobals(): Promise<Globals | undefined> {
    const part = this.#request.backup.part("globals");
    if (part === undefined) return undefined;
    return await readGlobals(readPart(part, this.#request.keys, this.#request.signal));
  }

  async #makePlan(dump: PreparedDump): Promise<RestorePlan> {
    const { backup, mode } = this.#request;
    const { manifest } = backup;
    const targetExists = await databaseExists(this.#admin, this.#target);
    if (mode === "into" && targetExists) {
      throw new AppError(
        "database-exists",
        ExitCode.refused,
        `there is a database "${this.#target}" already`,
        { hint: "Choose another name for --into, or drop that database first." },
      );
    }
    if (mode === "in-place" && !targetExists) {
      throw new AppError(
        "no-such-database",
        ExitCode.database,
        `there is no database "${this.#target}" to restore in place`,
        { hint: "Leave out --in-place: the database is then made." },
      );
    }
    const warnings = [...backup.warnings];
    if (manifest === undefined) {
      warnings.push(
        "there is no manifest: neither the stored bytes nor the numbers of rows can be compared with anything",
      );
    } else if (manifest.database !== this.#target && mode !== "into") {
      warnings.push(`the backup is of database "${manifest.database}"`);
    }
    if (targetExists && mode !== "into") warnings.push(...(await this.#warnOfSubscriptions()));
    return {
      backup: {
        name: backup.name,
        id: backup.id ?? null,
        createdAt: backup.createdAt?.toISOString() ?? null,
        database: manifest?.database ?? null,
        format: dump.format,
        server: dump.server ?? null,
        rows: manifest === undefined ? null : totalsOf(manifest).rows,
      },
      mode,
      server: this.#admin.serverVersion,
      target: this.#target,
      targetExists,
      kept: mode === "swap" && targetExists ? await this.#freeKeptName() : null,
      clients: targetExists ? await this.#clients() : [],
      warnings,
    };
  }

  /** They are of the database that is there, whatever it is called, and go on taking changes. */
  async #warnOfSubscriptions(): Promise<readonly string[]> {
    const names = await subscriptionsOf(this.#admin, this.#target);
    if (names.length === 0) return [];
    return [
      `"${this.#target}" has subscriptions of logical replication, which stay with what is there now and go on: ${names.join(", ")}; drop them there, or ALTER SUBSCRIPTION … DISABLE and SET (slot_name = NONE), before they are made anew`,
    ];
  }

  async #clients(): Promise<readonly Client[]> {
    const inTheWayOf = this.#request.mode === "in-place" ? "replacing" : "renaming";
    return await clientsOf(this.#admin, this.#target, inTheWayOf);
  }

  /** A restore that ended a moment ago may have taken the name of this second. */
  async #freeKeptName(): Promise<string> {
    for (let at = Date.now(); ; at += 1_000) {
      const name = keptName(this.#target, new Date(at));
      if (!(await databaseExists(this.#admin, name))) return name;
    }
  }

  async #besideAndSwap(
    programs: ClientPrograms,
    dump: PreparedDump,
    globals: Globals | undefined,
    plan: RestorePlan,
  ) {
    const { backup, disconnect, onStep } = this.#request;
    const settings = globals ?? (await this.#settingsOfTarget(programs, plan));
    const scratch = scratchName(this.#target, new Date());
    this.#notes.push(
      ...(await createScratch(this.#admin, scratch, backup.manifest?.source.locale)),
    );
    try {
      onStep("load", `loading it into the new database "${scratch}"`);
      await this.#load(programs, dump, scratch, false);
      onStep("count", "counting rows and gathering statistics");
      const counted = await this.#count(scratch);
      if (settings !== undefined) {
        const applied = await applyDatabaseSettings(this.#admin, settings, scratch);
        this.#notes.push(...applied.notes);
      }
      onStep("swap", `giving it the name "${this.#target}"`);
      await swapDatabases(
        this.#admin,
        { ...this.#request.connection, databaseUrl: this.#maintenance },
        {
          name: this.#target,
          restored: scratch,
          kept: plan.kept ?? undefined,
          disconnect,
          onWait: (clients) => onStep("swap", waitingFor(this.#target, clients)),
        },
      );
      return counted;
    } catch (error) {
      await this.#dropScratch(scratch);
      throw error;
    }
  }

  /** What no globals tell stays as it is now: the database's owner, privileges and settings. */
  async #settingsOfTarget(
    programs: ClientPrograms,
    plan: RestorePlan,
  ): Promise<Globals | undefined> {
    if (plan.kept === null) return undefined;
    const context = this.#contextOf(programs, this.#target);
    try {
      const settings = await readGlobals(
        dumpDatabaseSettings((program, args) => runToEnd(context, program, args)),
      );
      this.#notes.push(
        "the backup has no roles and settings: owner, privileges and settings of the database that was there go on",
      );
      return settings;
    } catch (error) {
      if (!(error instanceof AppError) || this.#request.signal.aborted) throw error;
      this.#notes.push(
        `the backup has no roles and settings, and those of the database that was there could not be read: ${error.message}; look at its owner and privileges`,
      );
      return undefined;
    }
  }

  /** An interruption has taken our session, so this is done in another one. What is left all the same, the next restore drops. */
  async #dropScratch(scratch: string): Promise<void> {
    const { signal: _, ...connection } = this.#request.connection;
    await withMaintenanceSession(connection, this.#target, (session) =>
      dropDatabase(session, scratch),
    ).catch(() => undefined);
  }

  async #replaceInPlace(
    programs: ClientPrograms,
    dump: PreparedDump,
    globals: Globals | undefined,
  ) {
    const { disconnect, onStep } = this.#request;
    onStep("load", `loading it into "${this.#target}", in one transaction`);
    if (disconnect) await endClients(this.#admin, this.#target, "replacing");
    await this.#load(programs, dump, this.#target, true);
    onStep("count", "counting rows and gathering statistics");
    try {
      const counted = await this.#count(this.#target);
      if (globals !== undefined) {
        const applied = await applyDatabaseSettings(this.#admin, globals, this.#target);
        this.#notes.push(...applied.notes);
      }
      return counted;
    } catch (error) {
      throw behindRestored(databaseError(error), this.#target);
    }
  }

  async #load(
    programs: ClientPrograms,
    dump: PreparedDump,
    database: string,
    inPlace: boolean,
  ): Promise<void> {
    const { progress } = this.#request;
    const context = this.#contextOf(programs, database);
    progress.start(dump.rawBytes);
    try {
      const { format, jobs } = dump;
      const serverMajor = this.#serverMajor;
      await loadDump(context, dump.source(), { format, inPlace, jobs, serverMajor });
    } catch (error) {
      throw withRoleHint(error);
    } finally {
      progress.stop();
    }
  }

  #contextOf(programs: ClientPrograms, database: string): ProgramContext {
    const { connection, signal } = this.#request;
    return {
      programs,
      connection: clientConnection(
        maintenanceUrl(connection.databaseUrl, database),
        restoreApplication,
      ),
      environment: this.#request.programs.environment,
      signal,
    };
  }

  /** @throws {AppError} exit 3 when a table has not the rows that the manifest says */
  async #count(database: string) {
    const { connection, backup, mode } = this.#request;
    const expected = backup.manifest?.tables;
    return await withSession(
      { ...connection, databaseUrl: maintenanceUrl(connection.databaseUrl, database) },
      async (session) => {
        const found = await countTableRows(session);
        const differences = expected === undefined ? [] : rowDifferences(expected, found);
        // In place, what the backup does not know stays as it is.
        const extra = mode === "in-place" ? differences.filter((one) => one.expected === null) : [];
        for (const { table } of extra) {
          this.#notes.push(`${table} is not in the backup, and was left as it is`);
        }
        const wrong = differences.filter((one) => !extra.includes(one));
        if (wrong.length > 0) throw rowsDiffer(wrong, mode);
        // Without statistics the first hours after a restore are slow.
        await session.client.query("ANALYZE");
        return { tables: found.length, rows: found.reduce((sum, one) => sum + one.rows, 0) };
      },
    );
  }
}

function waitingFor(target: string, clients: readonly Client[]): string {
  const who = clients.map(({ pid, description }) => `process ${pid}, ${description}`).join("; ");
  return `waiting a minute for whoever has connected to "${target}" meanwhile: ${who}`;
}
