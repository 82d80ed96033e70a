import type { ArgumentsCamelCase, Argv } from "yargs";
import type { Config } from "../config/config.ts";
import type { AppError, ExitCode } from "../errors.ts";
import type { ProgressListener } from "../progress.ts";
import { leavingMetrics } from "./leave-metrics.ts";
import type { Output } from "./output.ts";
import type { ProgressUnit } from "./progress.ts";

/** What main gives to the command line. */
export interface Surroundings {
  readonly output: Output;
  readonly signal: AbortSignal;
  /** What an interruption at this moment means for the operator's data. */
  readonly interruption: { meaning: string };
}

/** What notices tell of a run; a command that is to be told of fills it in. */
export interface CommandOutcome {
  /** Undefined while nothing has begun that anybody should hear of. */
  job?: "backup" | "verify" | "drill";
  id?: string;
  bytes?: number;
  /** What has failed although the command has a result. */
  failure?: AppError | undefined;
}

/** What a command works with. */
export interface Context extends Surroundings {
  readonly config: Readonly<Config>;
  readonly outcome: CommandOutcome;
  /** Shows how far an operation has come; the runner stops it in the end. */
  readonly progress: (doing: string, unit?: ProgressUnit) => Promise<ProgressListener>;
}

export interface GlobalArguments {
  "database-url"?: string | undefined;
  profile?: string | undefined;
  json: boolean;
  quiet: boolean;
  "accept-unclassified": boolean;
}

export interface CommandDescription<Arguments extends GlobalArguments> {
  /** As yargs takes it: `export [tenant]`. */
  readonly usage: string;
  readonly summary: string;
  readonly options: (yargs: Argv<GlobalArguments>) => Argv<Arguments>;
  readonly examples: readonly (readonly [command: string, what: string])[];
  readonly exitCodes: readonly ExitCode[];
  /** Options that may be given several times. */
  readonly repeatable?: readonly string[];
  /** Leaves PGTENANT_METRICS_FILE behind. */
  readonly leavesMetrics?: boolean;
  readonly run: (args: ArgumentsCamelCase<Arguments>, context: Context) => Promise<ExitCode>;
}

/** A command whose own options only it and yargs know. */
export interface Command {
  readonly usage: string;
  readonly summary: string;
  readonly repeatable: readonly string[];
  readonly examples: CommandDescription<GlobalArguments>["examples"];
  readonly exitCodes: readonly ExitCode[];
  /** Adds the command; `chosen` is called when the command line asks for it. */
  readonly addTo: (
    yargs: Argv<GlobalArguments>,
    decorate: (yargs: Argv<GlobalArguments>) => Argv<GlobalArguments>,
    chosen: (
      args: ArgumentsCamelCase<GlobalArguments>,
      run: (context: Context) => Promise<ExitCode>,
    ) => void,
  ) => Argv<GlobalArguments>;
}

export function defineCommand<Arguments extends GlobalArguments>(
  description: CommandDescription<Arguments>,
): Command {
  return {
    usage: description.usage,
    summary: description.summary,
    repeatable: description.repeatable ?? [],
    examples: description.examples,
    exitCodes: description.exitCodes,
    addTo: (yargs, decorate, chosen) =>
      yargs.command<Arguments>(
        description.usage,
        description.summary,
        (inner) => description.options(decorate(inner as Argv<GlobalArguments>)),
        (given) => {
          const args = showDashes(given);
          chosen(args, (context) =>
            description.leavesMetrics === true
              ? leavingMetrics(args, context, () => description.run(args, context))
              : description.run(args, context),
          );
        },
      ),
  };
}

/** Yargs takes a lone `-` for an option without a name, and gives an empty string instead. */
const dash = "\u0000dash";

export function hideDashes(argv: readonly string[]): readonly string[] {
  return argv.map((word) => (word === "-" ? dash : word));
}

function showDashes<Arguments extends object>(args: Arguments): Arguments {
  const shown = Object.entries(args).map(([name, value]) => [name, value === dash ? "-" : value]);
  return Object.fromEntries(shown) as Arguments;
}
