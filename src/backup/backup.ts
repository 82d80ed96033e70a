import { hostname } from "node:os";
import type { Encryption } from "../bundle/encryption.ts";
import { keyIdOf } from "../bundle/key-id.ts";
import type { Compression } from "../bundle/layers.ts";
import { AppError, ExitCode } from "../errors.ts";
import { clientConnection } from "../postgres/client-connection.ts";
import { findClientPrograms } from "../postgres/client-programs.ts";
import { databaseError } from "../postgres/database-errors.ts";
import type { ConnectionOptions } from "../postgres/session.ts";
import type { ProgressListener } from "../progress.ts";
import type { Store } from "../storage/store.ts";
import { toolVersion } from "../version.ts";
import {
  type BackupId,
  type DumpFormat,
  type PartKind,
  partName,
  sidecarName,
} from "./backup-name.ts";
import { backupIds, newestGood, readCatalogue } from "./catalogue.ts";
import { type ProgramContext, type ProgramOptions, runToEnd } from "./client-run.ts";
import { dumpDatabase } from "./dump.ts";
import { dumpGlobals } from "./dump-globals.ts";
import type { BackupManifest, BackupPart } from "./manifest.ts";
import { newBackupId } from "./new-id.ts";
import { packFiles } from "./pack-files.ts";
import type { IncludedFiles } from "./scan-files.ts";
import { removeSidecar, writeManifest, writeSidecar } from "./sidecars.ts";
import { type SourceSnapshot, withSourceSnapshot } from "./source-snapshot.ts";
import { onTargets, storePart, type Target } from "./store-part.ts";
import { countTableRows } from "./table-rows.ts";
import { timeLimit } from "./time-limit.ts";

export interface BackupRequest {
  readonly connection: ConnectionOptions;
  readonly stores: readonly Store[];
  readonly programs: ProgramOptions;
  readonly format: DumpFormat;
  readonly compression: Compression;
  readonly encryption: Encryption;
  /** Parallel connections of the directory format; by default as many as there are processors, at most 4. */
  readonly jobs: number | undefined;
  readonly tempFolder: string | undefined;
  /** What lies beside the database: keys, certificates, configuration. */
  readonly included: IncludedFiles | undefined;
  readonly rolePasswords: boolean;
  readonly timeoutMinutes: number;
  readonly signal: AbortSignal;
  readonly progress: ProgressListener;
}

export interface BackupResult {
  readonly id: BackupId;
  readonly manifest: BackupManifest;
  /** Where it lies now, complete. */
  readonly stored: readonly string[];
  /** Where it could not be written to, and why. */
  readonly failed: readonly { readonly place: string; readonly error: AppError }[];
  readonly warnings: readonly string[];
}

/** A dump of less than this share of the last one's size is worth a word. */
const suspiciousShare = 0.5;
/** To clear up takes its own time, whatever has run out. */
const clearUpMs = 8_000;

/**
 * Backs up the whole database from one snapshot, into every store at the same time. The caller
 * holds the locks, and has cleared up what earlier runs have left.
 *
 * @throws {AppError} exit 7 when the database or pg_dump fails or the time is over; 8 when no
 *   store is left; whatever is thrown, nothing of the backup remains
 */
export async function backUp(request: BackupRequest): Promise<BackupResult> {
  const started = performance.now();
  const limit = timeLimit(request.timeoutMinutes);
  const signal = AbortSignal.any([request.signal, limit]);
  try {
    return await withSourceSnapshot({ ...request.connection, signal }, (snapshot) =>
      new Run({ ...request, signal }, snapshot, started).run(),
    );
  } catch (error) {
    if (limit.aborted && !request.signal.aborted) throw timedOut(request.timeoutMinutes, error);
    throw databaseError(error);
  }
}

class Run {
  readonly #request: BackupRequest;
  readonly #snapshot: SourceSnapshot;
  readonly #started: number;
  readonly #targets: readonly Target[];
  /** Where the id is ours. */
  readonly #claimed = new Set<Store>();
  readonly #warnings: string[] = [];
  /** Fires when the rows could not be counted: without them the dump is not worth its end. */
  readonly #uncountable = new AbortController();

  constructor(request: BackupRequest, snapshot: SourceSnapshot, started: number) {
    const signal = AbortSignal.any([request.signal, this.#uncountable.signal]);
    this.#request = { ...request, signal };
    this.#snapshot = snapshot;
    this.#started = started;
    this.#targets = request.stores.map((store) => ({ store, failure: undefined }));
  }

  async run(): Promise<BackupResult> {
    const id = await this.#claimId();
    const names = this.#partNames(id);
    try {
      const manifest = await this.#write(id);
      await onTargets(this.#targets, (store) =>
        writeManifest(store, manifest, this.#request.signal),
      );
      // Exists from here on; that it does not look unfinished is no reason to fail.
      await Promise.allSettled(
        this.#live().map(({ store }) => removeSidecar(store, id, "pending")),
      );
      await this.#discard(id, names, this.#failed());
      return {
        id,
        manifest,
        stored: this.#live().map(({ store }) => store.place),
        failed: this.#targets.flatMap(({ store, failure }) =>
          failure === undefined ? [] : [{ place: store.place, error: failure }],
        ),
        warnings: this.#warnings,
      };
    } catch (error) {
      await this.#discard(id, names, this.#targets);
      throw error;
    }
  }

  /**
   * An id that is ours in every place, by the pending file that is made under it. Backups of other
   * databases go to the same bucket, at the same second even, and no lock keeps them apart.
   */
  async #claimId(): Promise<BackupId> {
    const taken = new Set<BackupId>();
    await onTargets(this.#targets, async (store) => {
      for (const id of await backupIds(store)) taken.add(id);
    });
    for (;;) {
      const { id, warning } = newBackupId(taken, new Date());
      if (await this.#claim(id)) {
        if (warning !== undefined) this.#warnings.push(warning);
        return id;
      }
      taken.add(id);
    }
  }

  async #claim(id: BackupId): Promise<boolean> {
    const pending = {
      pending: 1,
      id,
      database: this.#snapshot.database,
      startedAt: new Date().toISOString(),
      host: hostname(),
      pid: process.pid,
      parts: this.#partNames(id),
    } as const;
    const { signal } = this.#request;
    const manifest = sidecarName(id, "manifest");
    const written = new Set<Store>();
    const claims: Promise<void>[] = [];
    let free = true;
    const claim = async (store: Store) => {
      try {
        await writeSidecar(store, "pending", pending, { overwrite: false, signal });
      } catch (error) {
        if (!(error instanceof AppError) || error.code !== "object-exists") throw error;
        free = false;
        return;
      }
      written.add(store);
      // The other one may have been done since the ids were read.
      if ((await store.stat(manifest)) === undefined) this.#claimed.add(store);
      else free = false;
    };
    const giveBack = async (stores: Iterable<Store>) =>
      await withinClearUp([...stores].map((store) => removeSidecar(store, id, "pending")));
    try {
      await onTargets(this.#targets, (store) => {
        const claiming = claim(store);
        claims.push(claiming);
        return claiming;
      });
    } catch (error) {
      // An interruption ends one before the other.
      await Promise.allSettled(claims);
      await giveBack(written);
      throw error;
    }
    if (free) await giveBack(written.difference(this.#claimed));
    else {
      await giveBack(written);
      this.#claimed.clear();
    }
    return free;
  }

  #partNames(id: BackupId): readonly string[] {
    const { format, compression, encryption } = this.#request;
    const kinds: readonly PartKind[] = ["database", "globals", "files"];
    return kinds.map((kind) =>
      partName(id, { kind, format, compression, encryption: encryption.method }),
    );
  }

  async #write(id: BackupId): Promise<BackupManifest> {
    const request = this.#request;
    const snapshot = this.#snapshot;
    const programs = await findClientPrograms({
      binDir: request.programs.binDir,
      path: request.programs.path,
      serverMajor: Math.floor(snapshot.session.serverVersionNumber / 10_000),
    });
    const context: ProgramContext = {
      programs,
      connection: clientConnection(request.connection.databaseUrl, "pgtenant backup"),
      environment: request.programs.environment,
      signal: request.signal,
    };
    const counting = countTableRows(snapshot.session);
    // It is awaited behind the dump, which may take hours.
    counting.catch((error: unknown) => this.#uncountable.abort(error));
    const parts: BackupPart[] = [];
    const globals = await this.#globals(id, context);
    if (globals !== undefined) parts.push(globals);
    if (request.included !== undefined && request.included.entries.length > 0) {
      parts.push(await this.#store(id, "files", packFiles(request.included, request)));
    }
    request.progress.start(snapshot.source.databaseBytes);
    const dump = dumpDatabase(context, { ...request, snapshot: snapshot.sharedAs });
    const database = await this.#store(id, "database", dump);
    parts.unshift(database);
    const tables = await counting;
    request.progress.stop();
    await this.#compareWithLast(database);
    this.#warnAboutLosses();
    return {
      manifest: 1,
      id,
      tool: `pgtenant ${toolVersion}`,
      createdAt: snapshot.createdAt.toISOString(),
      durationSeconds: Math.round(performance.now() - this.#started) / 1000,
      database: snapshot.database,
      source: { ...snapshot.source, pgDump: programs.version },
      format: request.format,
      parts,
      keyIds: keyIdOf(request.encryption),
      tables,
      warnings: this.#warnings,
    };
  }

  /** A backup without roles is worth more than none. */
  async #globals(id: BackupId, context: ProgramContext): Promise<BackupPart | undefined> {
    const text = dumpGlobals((program, args) => runToEnd(context, program, args), {
      rolePasswords: this.#request.rolePasswords,
    });
    try {
      return await this.#store(id, "globals", text);
    } catch (error) {
      if (!(error instanceof AppError) || error.code !== "program-failed") throw error;
      this.#warnings.push(
        `roles and database settings are not in the backup: ${error.message}; before a restore on another server its roles have to be made`,
      );
      return undefined;
    }
  }

  async #store(
    id: BackupId,
    kind: PartKind,
    source: AsyncIterable<Uint8Array>,
  ): Promise<BackupPart> {
    const { format, compression, encryption, signal, progress } = this.#request;
    return await storePart(this.#targets, source, {
      id,
      kind,
      format,
      compression,
      encryption,
      signal,
      onRaw: (bytes) => kind === "database" && progress.advance("dump", bytes),
    });
  }

  /** So small a dump may be right, since its rows were counted; but somebody should look. */
  async #compareWithLast(part: BackupPart): Promise<void> {
    const [first] = this.#live();
    if (first === undefined) return;
    const { database } = this.#snapshot;
    const now = new Date();
    const last = newestGood(await readCatalogue(first.store, { database, now }), now)?.manifest;
    const before = last?.parts.find((one) => one.kind === "database")?.rawBytes;
    if (last?.format !== this.#request.format || before === undefined) return;
    if (part.rawBytes >= before * suspiciousShare) return;
    this.#warnings.push(
      `the dump is suspiciously small: ${part.rawBytes} bytes before compression, where ${last.id} had ${before}; look for rows that were deleted before retention removes the older backups`,
    );
  }

  #warnAboutLosses(): void {
    const { tablespaces, settingsOfAll, subscriptions, unlogged, createdAt } = this.#snapshot;
    const ahead = (Date.now() - performance.now() + this.#started - +createdAt) / 3_600_000;
    if (Math.abs(ahead) > 1) {
      this.#warnings.push(
        `this machine's clock is ${Math.abs(ahead).toFixed(1)} h ${ahead > 0 ? "ahead of" : "behind"} the server's; the backup is named by it`,
      );
    }
    if (tablespaces.length > 0) {
      this.#warnings.push(
        `a restore puts everything into the default tablespace, the tables of ${tablespaces.join(", ")} too`,
      );
    }
    if (settingsOfAll.length > 0) {
      this.#warnings.push(
        `what ALTER ROLE ALL has set is in no backup: ${settingsOfAll.join(", ")}; on a new server it has to be set again`,
      );
    }
    if (subscriptions.length > 0) {
      this.#warnings.push(
        `subscriptions of logical replication are not in the backup: ${subscriptions.join(", ")}; after a restore each has to be made again`,
      );
    }
    if (unlogged.length > 0) {
      this.#warnings.push(
        `on a standby nobody can read the rows of unlogged tables, which are not in the backup: ${unlogged.join(", ")}`,
      );
    }
    for (const { path, reason } of this.#request.included?.skipped ?? []) {
      this.#warnings.push(`"${path}" is not in the backup: ${reason}`);
    }
    this.#warnings.push(...(this.#request.included?.warnings ?? []));
  }

  #live(): readonly Target[] {
    return this.#targets.filter((target) => target.failure === undefined);
  }

  #failed(): readonly Target[] {
    return this.#targets.filter((target) => target.failure !== undefined);
  }

  /**
   * Only where the id is ours: under the same one there may be a backup of another database
   * elsewhere. What cannot be removed now is known by its pending file, and collected later.
   */
  async #discard(
    id: BackupId,
    names: readonly string[],
    targets: readonly Target[],
  ): Promise<void> {
    // A server without conditional writes has given it to somebody else as well.
    const ours = targets.filter(
      ({ store, failure }) => this.#claimed.has(store) && failure?.code !== "object-exists",
    );
    const removing = ours.map(async ({ store }) => {
      await store.remove(sidecarName(id, "manifest"));
      for (const name of names) await store.remove(name);
      await removeSidecar(store, id, "pending");
    });
    await withinClearUp(removing);
  }
}

async function withinClearUp(removing: readonly Promise<void>[]): Promise<void> {
  const patience = new Promise((resolve) => setTimeout(resolve, clearUpMs).unref());
  await Promise.race([Promise.allSettled(removing), patience]);
}

function timedOut(minutes: number, cause: unknown): AppError {
  return new AppError(
    "timed-out",
    ExitCode.database,
    `the backup was not done after ${minutes} minute${minutes === 1 ? "" : "s"} and was ended; nothing of it is left`,
    {
      hint: "Set BACKUP_TIMEOUT_MINUTES or --timeout-minutes higher; pgtenant history tells how long earlier ones took.",
      cause,
    },
  );
}
