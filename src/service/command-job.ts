import type { AppError } from "../errors.ts";
import type { JobOutcome, JobRun, JobWork } from "./job.ts";
import { type JobProgram, runJobCommand } from "./job-command.ts";
import { failureOf, failuresOfMany } from "./retries.ts";
import type { JobKind } from "./schedule-view.ts";
import type { Slots } from "./slots.ts";

export interface CommandJobOptions {
  readonly kind: JobKind;
  readonly slots: Slots;
  readonly program: JobProgram;
  /** Run one after the other: `["export", "acme"]`. */
  readonly commands: readonly (readonly string[])[];
  /** An option of each command, given the slot's time: what was begun before is not its affair. */
  readonly slotOption?: string;
  readonly timeoutMinutes?: number;
  readonly lastDone?: JobWork["lastDone"];
}

/**
 * A job that is a command of this program, in a process of its own: it does what an operator's
 * would do, its memory is given back, and whatever becomes of it the service goes on. Of several
 * commands one that fails does not keep the others from their turn, and is the only one to be tried
 * again.
 */
export function commandJob(options: CommandJobOptions): JobWork {
  const { kind, slots, program, commands, slotOption, timeoutMinutes, lastDone } = options;
  let doneOf: { readonly slot: number; readonly outcomes: Map<string, JobOutcome> } | undefined;
  return {
    kind,
    slots,
    timeoutMinutes,
    ...(lastDone === undefined ? {} : { lastDone }),
    async run(run) {
      if (doneOf?.slot !== +run.slot) doneOf = { slot: +run.slot, outcomes: new Map() };
      const { outcomes } = doneOf;
      const failures = new Map<string, AppError>();
      for (const command of commands) {
        const name = command.join(" ");
        if (outcomes.has(name)) continue;
        const given =
          slotOption === undefined ? command : [...command, slotOption, run.slot.toISOString()];
        try {
          outcomes.set(name, await runJobCommand(program, given, named(run, name, commands)));
        } catch (error) {
          if (run.signal.aborted) throw error;
          failures.set(name, failureOf(error));
        }
      }
      const [only] = failures.values();
      if (only !== undefined) {
        throw commands.length === 1 ? only : failuresOfMany(failures, commands.length);
      }
      return together([...outcomes.values()]);
    },
  };
}

/** The progress of one command among several says which. */
function named(run: JobRun, name: string, commands: CommandJobOptions["commands"]): JobRun {
  run.progress({ step: name, done: 0, total: undefined });
  if (commands.length === 1) return run;
  return { ...run, progress: (told) => run.progress({ ...told, step: `${name}: ${told.step}` }) };
}

function together(outcomes: readonly JobOutcome[]): JobOutcome {
  const [first = { message: "" }] = outcomes;
  if (outcomes.length <= 1) return first;
  const failure = outcomes.find((outcome) => outcome.failure !== undefined)?.failure;
  const bytes = outcomes.reduce((sum, outcome) => sum + (outcome.bytes ?? 0), 0);
  return { message: outcomes.map(({ message }) => message).join("; "), bytes, failure };
}
