import type { Argv } from "yargs";
import type { Selection } from "../tenant/import-types.ts";
import { usage } from "./options.ts";

/** What says which part of a tenant is meant. */
export interface SelectionArguments {
  select?: string | readonly string[] | undefined;
  exclude?: string | readonly string[] | undefined;
  since?: string | undefined;
}

/** Those of them that may be given several times, as a command's `repeatable` wants them. */
export const repeatableSelection: readonly string[] = ["select", "exclude"];

export function withSelectionOptions<T>(yargs: Argv<T>): Argv<T & SelectionArguments> {
  return yargs
    .option("select", {
      type: "string",
      requiresArg: true,
      describe:
        "only this part: a group (sites, vms, …), a table, or rows: site=NAME, microvms.name=vm-7 (repeatable)",
    })
    .option("exclude", {
      type: "string",
      requiresArg: true,
      describe: "all but this part, named as for --select (repeatable)",
    })
    .option("since", {
      type: "string",
      requiresArg: true,
      describe: "leave out rows of logs from before this time: 2026-01-31, 2026-01-31T18:00Z",
    });
}

/** @throws {AppError} exit 2 when `--since` is no time */
export function selectionOf(args: SelectionArguments): Selection | undefined {
  const select = [args.select ?? []].flat();
  const exclude = [args.exclude ?? []].flat();
  if (select.length + exclude.length === 0 && args.since === undefined) return undefined;
  return {
    select,
    exclude,
    ...(args.since === undefined ? {} : { since: timeOf("since", args.since) }),
  };
}

/** The flags of a selection, to be given again. */
export function selectionFlags(args: SelectionArguments): readonly string[] {
  return [
    ...[args.select ?? []].flat().flatMap((item) => ["--select", item]),
    ...[args.exclude ?? []].flat().flatMap((item) => ["--exclude", item]),
    ...(args.since === undefined ? [] : ["--since", args.since]),
  ];
}

/** A time without a zone is UTC, as all times of bundles are. */
export function timeOf(option: string, text: string): string {
  const [, date, time = "", zone = "Z"] =
    /^(\d{4}-\d{2}-\d{2})(?:[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d{1,6})?)?))?(Z|[+-]\d{2}:?\d{2})?$/.exec(
      text.trim(),
    ) ?? [];
  const written = `${date}T${time === "" ? "00:00" : time}${zone}`;
  if (date === undefined || Number.isNaN(Date.parse(written))) {
    throw usage(
      `--${option} "${text}" is not a time`,
      "Write it as 2026-01-31 or 2026-01-31T18:00:00Z; without a zone it is UTC.",
    );
  }
  return written;
}
