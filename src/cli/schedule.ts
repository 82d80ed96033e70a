import type { Config } from "../config/config.ts";
import { ExitCode } from "../errors.ts";
import type { JobWork } from "../service/job.ts";
import type { Store } from "../storage/store.ts";
import { type Context, defineCommand, type GlobalArguments } from "./command.ts";
import { placesOf } from "./place-options.ts";

interface ScheduleArguments extends GlobalArguments {
  "dry-run": boolean;
}

const shownTimes = 5;

export const scheduleCommand = defineCommand<ScheduleArguments>({
  usage: "schedule",
  summary: "run backups at their times, with metrics and a status page, until it is ended",
  options: (yargs) =>
    yargs.option("dry-run", {
      type: "boolean",
      default: false,
      describe: "show the next times of each job, and run nothing",
    }),
  examples: [
    ["pgtenant schedule", "as BACKUP_SCHEDULE and the other variables say"],
    ["BACKUP_SCHEDULE='30 1 * * *' pgtenant schedule --dry-run", "the next five times"],
  ],
  exitCodes: [ExitCode.storage],
  async run(args, context) {
    const { config, output, signal } = context;
    const { openStores } = await import("../storage/open-stores.ts");
    const { databaseOfUrl } = await import("../postgres/maintenance-url.ts");
    const { openJournal } = await import("../journal/journal.ts");
    const { systemClock } = await import("../service/clock.ts");
    const { Scheduler } = await import("../service/scheduler.ts");
    const { databaseClaims } = await import("../service/slot-claim.ts");
    const { SlotHistory } = await import("../service/slot-history.ts");
    const { scheduleLog } = await import("../service/schedule-log.ts");
    const { giveNotice } = await import("../service/notices.ts");
    const { serveStatus } = await import("../service/serve-status.ts");
    const { toolVersion } = await import("../version.ts");
    const database = databaseOfUrl(config.databaseUrl);
    const places = placesOf({}, config);
    const stores = await openStores(places);
    try {
      const jobs = await jobsOf(config, stores.all, database);
      if (args.dryRun) return tellTimes(jobs, context);
      const log = scheduleLog(config.secrets);
      const warn = (message: string) => log("warn", "warning", { message });
      const journal = openJournal(places.directory, { secrets: config.secrets, warn });
      const claims = databaseClaims(config, database);
      const scheduler = new Scheduler({
        jobs,
        clock: systemClock,
        claims,
        history: new SlotHistory(journal, database, warn),
        log,
        timeoutMinutes: config.backup.timeoutMinutes,
        onEnd: async (end, ending) => {
          for (const message of await giveNotice(config, end, database, { signal: ending })) {
            log("warn", "notice failed", { job: end.job, message });
          }
        },
      });
      const schedule = () => scheduler.view();
      const server = await serveStatus(
        config,
        { folder: places.directory, stores: stores.all, schedule },
        warn,
      );
      log("info", "service started", {
        version: toolVersion,
        database,
        places: stores.all.map((store) => store.place),
        status: server?.url ?? null,
      });
      try {
        await scheduler.run(signal);
      } finally {
        // A status page without a schedule behind it would say that all is well.
        await Promise.all([server?.close(), claims.close()]);
        log("info", "service ended", {});
      }
      output.result({ ended: true });
      return ExitCode.done;
    } finally {
      await stores.close();
    }
  },
});

async function jobsOf(
  config: Readonly<Config>,
  stores: readonly Store[],
  database: string,
): Promise<readonly JobWork[]> {
  const { slotsOf } = await import("../service/slots.ts");
  const { commandJob } = await import("../service/command-job.ts");
  const { newestBackup } = await import("../service/newest-backup.ts");
  const { jobEnvironment } = await import("../config/job-environment.ts");
  const { timezone, tenantSchedule, tenants, verifySchedule, drillSchedule, rtoHours } =
    config.service;
  const program = {
    // As this process was started, so that a checkout and an installed program do alike.
    argv: [process.execPath, ...process.execArgv, process.argv[1] ?? ""],
    flags: config.acceptUnclassified ? ["--accept-unclassified"] : [],
    environment: jobEnvironment(config),
  };
  type Job = Parameters<typeof commandJob>[0];
  /** One that runs where its schedule is set. */
  const job = (
    kind: Job["kind"],
    [variable, expression]: readonly [string, string | undefined],
    commands: Job["commands"],
    more: Pick<Job, "lastDone" | "slotOption" | "timeoutMinutes"> = {},
  ): readonly JobWork[] =>
    expression === undefined
      ? []
      : [
          commandJob({
            kind,
            slots: slotsOf(expression, timezone, variable),
            program,
            commands,
            ...more,
          }),
        ];
  return [
    ...job("backup", ["BACKUP_SCHEDULE", config.backup.schedule], [["backup"]], {
      lastDone: (signal) => newestBackup(stores, database, signal),
    }),
    ...job(
      "tenants",
      ["BACKUP_TENANT_SCHEDULE", tenantSchedule],
      tenants === undefined ? [["export", "--all", "--resume"]] : tenants.map((t) => ["export", t]),
      // A set of an earlier slot that a bad tenant keeps incomplete is not gone on with: the others
      // would have no new bundle.
      tenants === undefined ? { slotOption: "--resume-since" } : {},
    ),
    ...job("verify", ["BACKUP_VERIFY_SCHEDULE", verifySchedule], [["verify", "latest"]]),
    ...job("drill", ["BACKUP_DRILL_SCHEDULE", drillSchedule], [["drill"]], {
      // A restore that misses its target is measured, and not cut off.
      timeoutMinutes: Math.max(config.backup.timeoutMinutes, 2 * 60 * rtoHours),
    }),
  ];
}

function tellTimes(jobs: readonly JobWork[], { output }: Context): ExitCode {
  const told = jobs.map(({ kind, slots }) => {
    const times: string[] = [];
    let at = slots.nextAfter(new Date());
    for (; at !== undefined && times.length < shownTimes; at = slots.nextAfter(at)) {
      times.push(at.toISOString());
    }
    return { job: kind, schedule: slots.expression, timezone: slots.timezone, times };
  });
  for (const { job, schedule, timezone, times } of told) {
    output.text(`${job}: ${schedule} (${timezone})`);
    for (const time of times) output.text(`  ${time}`);
  }
  output.result({ jobs: told });
  return ExitCode.done;
}
