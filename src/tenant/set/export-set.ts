import type { TenantIdentity } from "../../bundle/format.ts";
import { AppError, ExitCode } from "../../errors.ts";
import { databaseError } from "../../postgres/database-errors.ts";
import { type Session, withSession } from "../../postgres/session.ts";
import { noProgress } from "../../progress.ts";
import { type ExportResult, type Snapshot, withSnapshot } from "../export.ts";
import { type ExportRequest, exportInto, type Source } from "../export-tenants.ts";
import { listIdentities } from "../find-tenant.ts";
import { type OpenSchema, openSchema } from "../open-schema.ts";
import { type BegunSet, findUnfinished, newSet, type SetListener, takeStock } from "./begin-set.ts";
import { openProgressLog, type ProgressLog, removeProgress } from "./progress-log.ts";
import { type Reader, withReaders } from "./readers.ts";
import { seriesOf } from "./series.ts";
import { lockSet } from "./set-lock.ts";
import { writeManifest } from "./set-manifest.ts";
import { manifestKey } from "./set-name.ts";
import { openSetPlace, type SetPlace } from "./set-place.ts";
import { bySlug } from "./set-progress.ts";
import { isInShard, type Shard } from "./shard.ts";
import type { SetFailure, SetTenant } from "./tenant-set.ts";

export interface ExportSetRequest extends ExportRequest {
  /** How many tenants are exported at a time. */
  readonly jobs: number;
  /** Goes on with an unfinished set, if there is one. */
  readonly resume: boolean;
  /** Only with one that has begun since. */
  readonly resumeSince: Date | undefined;
  /** Only the tenants of this shard. */
  readonly shard: Shard | null;
}

export interface FailedExport {
  readonly tenant: TenantIdentity;
  readonly error: AppError;
}

/** Of an export among thousands: what need not be known of each is left out. */
export type ExportedTenant = Pick<
  ExportResult,
  "tenant" | "output" | "bytes" | "encryption" | "rows" | "seconds"
>;

export interface ExportSetResult {
  readonly exported: readonly ExportedTenant[];
  readonly failed: readonly FailedExport[];
  readonly snapshotLsn: string;
  /** What no bundle has; the same for all. */
  readonly leftOut: ExportResult["leftOut"];
  readonly set: {
    readonly id: string;
    /** The manifest's path or URL. */
    readonly manifest: string;
    readonly complete: boolean;
    readonly shard: Shard | null;
    readonly resumed: boolean;
    /** All bundles of it. */
    readonly tenants: number;
    readonly snapshots: number;
  };
}

export interface ExportListener extends SetListener {
  /** Called after each tenant, so that what was done is known whatever comes next. */
  readonly outcome: (outcome: ExportResult | FailedExport) => void;
}

/**
 * Exports every tenant, or those of a shard, all that this run exports from one snapshot; writes
 * down each, and in the end the manifest of the set. A tenant that cannot be exported is reported,
 * and the others go on; what would stop each of them, such as a lost server, ends it all.
 *
 * @throws {AppError} exit 5 while another run exports the same into the same place
 */
export function exportAllTenants(
  request: ExportSetRequest,
  listener: ExportListener,
): Promise<ExportSetResult> {
  return withSession(request.connection, async (session) => {
    const schema = await openSchema(session, request.schema);
    const place = await openSetPlace(request.destination, request.server);
    // With the session its lock would go, and the readers would go on beside another run.
    const lost = new AbortController();
    const signal = AbortSignal.any([request.signal, lost.signal]);
    const guarded = { ...request, signal };
    session.client.once("end", () => lost.abort(sessionLost(session.database)));
    const work = async (snapshot: Snapshot) => {
      await lockSet(session, place.identity, request.shard);
      const tenants = (await listIdentities(session, schema)).filter(({ id }) =>
        isInShard(id, request.shard),
      );
      const begun = await beginSet(session, schema, request, place, tenants, listener);
      const source = { session, schema, snapshot };
      return await new SetExport(guarded, place, begun, source, listener).run(tenants);
    };
    try {
      return await withSnapshot(session, schema, work, request.selection);
    } catch (error) {
      throw lost.signal.aborted && !request.signal.aborted ? lost.signal.reason : error;
    } finally {
      session.client.removeAllListeners("end");
      await place.close();
    }
  });
}

function sessionLost(database: string): AppError {
  return new AppError(
    "connection-lost",
    ExitCode.database,
    `the connection that held the snapshot of the database "${database}" was lost`,
    {
      hint: "See the server's log for the reason, then run the command again with --resume; bundles that are whole stay.",
    },
  );
}

async function beginSet(
  session: Session,
  schema: OpenSchema,
  request: ExportSetRequest,
  { store }: SetPlace,
  tenants: readonly TenantIdentity[],
  listener: ExportListener,
): Promise<BegunSet> {
  const series = await seriesOf(session, schema, request);
  const found = request.resume
    ? await findUnfinished(store, series, request.resumeSince, listener)
    : undefined;
  if (found !== undefined) {
    await takeStock(store, found.progress, tenants, listener);
    return found;
  }
  const { name, version } = schema.profile;
  const { database } = session;
  const profile = { name, version };
  return await newSet(store, { database, profile, shard: request.shard, series });
}

/** Whose snapshot it all is of; its session reads no tenant, so it needs no chooser of parts. */
type SetSource = Omit<Source, "part">;

/** One run's part of a set. */
class SetExport {
  readonly #request: ExportSetRequest;
  readonly #place: SetPlace;
  readonly #begun: BegunSet;
  readonly #source: SetSource;
  readonly #listener: ExportListener;
  readonly #exported: ExportedTenant[] = [];
  readonly #failed: FailedExport[] = [];
  readonly #taken: Set<string>;
  #leftOut: ExportResult["leftOut"] = [];

  constructor(
    request: ExportSetRequest,
    place: SetPlace,
    begun: BegunSet,
    source: SetSource,
    listener: ExportListener,
  ) {
    this.#request = request;
    this.#place = place;
    this.#begun = begun;
    this.#source = source;
    this.#listener = listener;
    const paths = [...begun.progress.begun].map((path) => place.outputOf(path).toLowerCase());
    this.#taken = new Set(paths);
  }

  async run(tenants: readonly TenantIdentity[]): Promise<ExportSetResult> {
    const { progress, resumed } = this.#begun;
    const { store } = this.#place;
    const { id, shard } = progress.heading;
    const current = new Set(tenants.map((tenant) => tenant.id));
    const log = await openProgressLog(store, id);
    try {
      await this.#open(log, tenants);
      // That there is a set, and that it is not whole, is known from now on.
      await writeManifest(store, progress.manifest(current, null));
      await this.#exportAll(
        log,
        tenants.filter((tenant) => !progress.done.has(tenant.id)),
      );
    } catch (error) {
      await log.close().catch(() => undefined);
      await this.#leaveManifest(current);
      throw error;
    }
    await log.close();
    const set = progress.manifest(current, new Date().toISOString());
    await writeManifest(store, set);
    if (set.complete) await removeProgress(store, id);
    return {
      exported: this.#exported.toSorted((a, b) => bySlug(a.tenant, b.tenant)),
      failed: this.#failed,
      snapshotLsn: this.#source.snapshot.lsn,
      leftOut: this.#leftOut,
      set: {
        id,
        manifest: store.nameOf(manifestKey(id)),
        complete: set.complete,
        shard,
        resumed,
        tenants: set.tenants.length,
        snapshots: set.snapshots.length,
      },
    };
  }

  /** What all that follows in the progress refers to. */
  async #open(log: ProgressLog, tenants: readonly TenantIdentity[]): Promise<void> {
    const { progress, resumed } = this.#begun;
    const { lsn, createdAt } = this.#source.snapshot;
    if (!resumed) await log.append({ heading: progress.heading });
    const found = { found: tenants.map(({ id }) => id).filter((id) => !progress.found.has(id)) };
    const snapshot = { snapshot: { lsn, createdAt } };
    for (const record of [found, snapshot]) {
      progress.apply(record);
      await log.append(record, true);
    }
  }

  async #exportAll(log: ProgressLog, pending: readonly TenantIdentity[]): Promise<void> {
    const { connection, jobs, selection, signal } = this.#request;
    const bar = this.#request.progress;
    bar.start(pending.length);
    const options = { connection, jobs, selection, signal };
    let next = 0;
    await withReaders(this.#source, options, async (reader) => {
      for (let tenant = pending[next]; tenant !== undefined; tenant = pending[next]) {
        next += 1;
        const outcome = await this.#attempt(log, reader, tenant);
        bar.advance(tenant.slug ?? tenant.id, 1);
        await this.#writeDown(log, outcome);
        // A failure in the middle of a COPY costs the connection; the snapshot outlives it.
        if ("error" in outcome) return "again";
      }
      return "done";
    });
    bar.stop();
  }

  async #attempt(
    log: ProgressLog,
    { session, part, signal }: Reader,
    tenant: TenantIdentity,
  ): Promise<ExportResult | FailedExport> {
    const { schema, snapshot } = this.#source;
    const { bucket } = this.#place;
    const request = { ...this.#request, progress: noProgress, hashStored: true, bucket, signal };
    const source = { session, schema, snapshot, part };
    const onOutput = async (output: string) => {
      const begun = { begun: this.#place.keyOf(output) };
      this.#begun.progress.apply(begun);
      await log.append(begun);
    };
    try {
      return await exportInto(request, source, tenant, { taken: this.#taken, onOutput });
    } catch (thrown) {
      const error = databaseError(thrown);
      if (signal.aborted || !(error instanceof AppError)) throw error;
      if (stopsAll.has(error.code)) throw error;
      return { tenant, error };
    }
  }

  async #writeDown(log: ProgressLog, outcome: ExportResult | FailedExport): Promise<void> {
    const { progress } = this.#begun;
    if ("error" in outcome) {
      const failed = { failed: this.#failureOf(outcome) };
      progress.apply(failed);
      await log.append(failed);
      this.#failed.push(outcome);
    } else {
      const done = { done: this.#tenantOf(outcome) };
      progress.apply(done);
      await log.append(done, true);
      const { tenant, output, bytes, encryption, rows, seconds } = outcome;
      this.#exported.push({ tenant, output, bytes, encryption, rows, seconds });
      this.#leftOut = outcome.leftOut;
    }
    this.#listener.outcome(outcome);
  }

  #tenantOf({ tenant, redacted, output, bytes, sha256 = "", rows }: ExportResult): SetTenant {
    const { id, slug } = redacted?.tenant ?? tenant;
    const path = this.#place.keyOf(output);
    const snapshot = this.#begun.progress.snapshots.length - 1;
    return { id, slug, path, bytes, sha256, rows, snapshot };
  }

  /** A set whose names were replaced is given away with its manifest, and this has none either. */
  #failureOf({
    tenant: { id, slug },
    error: { code, message, exitCode },
  }: FailedExport): SetFailure {
    return this.#request.redact?.personal === true
      ? { id, slug: null, error: { code, message: code, exitCode } }
      : { id, slug, error: { code, message, exitCode } };
  }

  /** After a run that was ended: its own error is the one to tell. */
  async #leaveManifest(current: ReadonlySet<string>): Promise<void> {
    const set = this.#begun.progress.manifest(current, new Date().toISOString());
    await writeManifest(this.#place.store, set).catch(() => undefined);
  }
}

/** What the next tenant would meet, too. */
const stopsAll: ReadonlySet<string> = new Set([
  "connection-lost",
  "disk-full",
  "no-such-bucket",
  "s3-clock",
  "s3-denied",
  "s3-full",
  "s3-no-credentials",
  "s3-region",
  "s3-unreachable",
  "s3-wrong-credentials",
]);
