import { Counter, Gauge, Registry } from "prom-client";
import { isUnread, type ServiceStatus, type TotalsStatus } from "./service-status.ts";

export const metricsType = Registry.PROMETHEUS_CONTENT_TYPE;

/**
 * A status as metrics, in Prometheus' text format. What has never been is the time 0, so that
 * `time() - x > …` fires; what cannot be known, since a place has not answered, is absent.
 */
export async function metricsText(status: ServiceStatus): Promise<string> {
  const registry = new Registry();
  const registers = [registry];
  const gauge = (name: string, help: string, value: number | null | undefined) => {
    if (value == null) return;
    new Gauge({ name, help, registers }).set(value);
  };
  const labelled = (
    name: string,
    help: string,
    label: string,
    values: readonly (readonly [string, number])[],
  ) => {
    if (values.length === 0) return;
    const made = new Gauge({ name, help, labelNames: [label], registers });
    for (const [word, value] of values) made.set({ [label]: word }, value);
  };
  const { rpo, rto, verified, backups, drills, totals, schedule, running, journal } = status;
  const newest = backups.find(({ createdAt }) => createdAt === rpo.at);
  const [drill] = drills;
  const unknown = status.promise.state === "unknown";
  const orNever = (value: number | null | undefined) => value ?? (unknown ? null : 0);

  gauge(
    "backup_last_success_timestamp",
    "When the newest good backup was taken, in Unix seconds; 0 if there is none.",
    orNever(secondsOf(rpo.at)),
  );
  gauge(
    "backup_file_size_bytes",
    "Stored size of the newest good backup; 0 if there is none.",
    orNever(newest?.bytes),
  );
  gauge(
    "pgtenant_backup_duration_seconds",
    "How long the newest good backup took.",
    newest?.durationSeconds,
  );
  gauge("pgtenant_backups", "Good backups that are kept.", backups.length);
  if (!isUnread(journal)) addOperations(registry, totals);
  gauge(
    "pgtenant_last_verified_timestamp_seconds",
    "When a kept backup was last read to its last row or restored in a drill; 0 if never.",
    orNever(secondsOf(verified.at)),
  );
  gauge(
    "pgtenant_last_drill_timestamp_seconds",
    "When the latest drill ran; 0 if never.",
    secondsOf(drill?.at ?? null) ?? 0,
  );
  if (drill !== undefined) {
    gauge(
      "pgtenant_last_drill_passed",
      "Whether the latest drill passed: 1 or 0.",
      Number(drill.passed),
    );
  }
  gauge(
    "pgtenant_rpo_seconds",
    "Age of the newest good backup: what would be lost now; +Inf if there is none.",
    rpo.seconds ?? (unknown ? null : Number.POSITIVE_INFINITY),
  );
  gauge(
    "pgtenant_rpo_target_seconds",
    "What may be lost at most, by BACKUP_RPO_HOURS.",
    rpo.targetSeconds,
  );
  gauge(
    "pgtenant_rto_seconds",
    "How long the latest measured restore took, of a drill or in earnest.",
    rto.seconds,
  );
  gauge(
    "pgtenant_rto_target_seconds",
    "What a restore may take at most, by BACKUP_RTO_HOURS.",
    rto.targetSeconds,
  );
  gauge(
    "pgtenant_promise_kept",
    "Whether the targets are met and proved: 1 or 0.",
    Number(status.promise.state === "kept"),
  );
  labelled(
    "pgtenant_place_reachable",
    "Whether a place of backups can be read now: 1 or 0.",
    "place",
    status.places.map(
      ({ place, state }) => [place, Number(state === "read" || state === "stale")] as const,
    ),
  );
  gauge(
    "pgtenant_backup_dir_free_bytes",
    "Free space on the disk of BACKUP_DIR.",
    status.disk?.freeBytes,
  );
  gauge(
    "pgtenant_backup_dir_size_bytes",
    "Size of the disk of BACKUP_DIR.",
    status.disk?.totalBytes,
  );
  gauge(
    "pgtenant_journal_intact",
    "Whether every line of the journal follows the one before it: 1 or 0.",
    isUnread(journal) ? null : Number(journal.problem === null),
  );
  const jobs = (schedule?.jobs ?? []).map(({ job }) => job as string);
  // Whether one of another host still runs is not known; its own metrics tell.
  const here = running.filter(({ host }) => host === null);
  const names = new Set([...jobs, ...here.map(({ operation }) => operation)]);
  labelled(
    "pgtenant_job_running",
    "Whether a job runs now: 1 or 0.",
    "job",
    [...names].map(
      (name) => [name, Number(here.some(({ operation }) => operation === name))] as const,
    ),
  );
  labelled(
    "pgtenant_next_run_timestamp_seconds",
    "When a job is due next, in Unix seconds.",
    "job",
    (schedule?.jobs ?? []).flatMap(({ job, next }) => {
      const at = secondsOf(next);
      return at === null ? [] : [[job, at] as const];
    }),
  );
  labelled("pgtenant_build_info", "The version that tells this; always 1.", "version", [
    [status.tool.replace(/^pgtenant /, ""), 1],
  ]);
  return await registry.metrics();
}

/** What the journal tells: absent while it cannot be read, or counters would begin anew. */
function addOperations(registry: Registry, { operations, lastSuccess, s3Failures }: TotalsStatus) {
  const registers = [registry];
  const counter = new Counter({
    name: "pgtenant_operations_total",
    help: "Operations in the journal by their result.",
    labelNames: ["operation", "result"],
    registers,
  });
  for (const { operation, result, count } of operations) counter.inc({ operation, result }, count);
  // So that increase() sees the first failure too.
  for (const result of ["done", "failed", "interrupted"]) {
    counter.inc({ operation: "backup", result }, 0);
  }
  const successes = Object.entries(lastSuccess);
  if (successes.length > 0) {
    const gauge = new Gauge({
      name: "pgtenant_last_success_timestamp_seconds",
      help: "When an operation last went well, in Unix seconds.",
      labelNames: ["operation"],
      registers,
    });
    for (const [operation, at] of successes) gauge.set({ operation }, secondsOf(at) ?? 0);
  }
  const s3 = new Counter({
    name: "pgtenant_s3_failures_total",
    help: "Operations in the journal that S3 has failed.",
    registers,
  });
  s3.inc(s3Failures);
}

function secondsOf(time: string | null): number | null {
  const ms = time === null ? Number.NaN : Date.parse(time);
  return Number.isNaN(ms) ? null : Math.round(ms) / 1000;
}
