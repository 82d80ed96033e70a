import { readFile } from "node:fs/promises";
import { AppError, ExitCode } from "../errors.ts";
import { nKudo } from "./n-kudo.ts";
import type { Profile } from "./profile.ts";

/** What a profile file must be; `schemas/profile.schema.json` has it in full. */
export type ProfileFile = Pick<Profile, "root"> & Partial<Profile>;

/** Tells what is wrong with a parsed profile file; nothing if it is valid. */
export type ProfileCheck = (document: unknown) => readonly string[];

const maxProfileBytes = 4 * 1024 * 1024;

/**
 * The built-in profile by its name, or a profile from a JSON file.
 *
 * @throws {AppError} exit 2 when there is no such file or it is not a valid profile
 */
export async function loadProfile(nameOrFile: string, check: ProfileCheck): Promise<Profile> {
  if (nameOrFile === nKudo.name) return nKudo;
  const fail = (message: string, hint: string, cause?: unknown): AppError =>
    new AppError("invalid-profile", ExitCode.usage, message, { hint, cause });
  let text: string;
  try {
    text = await readFile(nameOrFile, "utf8");
  } catch (cause) {
    throw fail(
      `the profile "${nameOrFile}" cannot be read`,
      `Give the path of a JSON file, or the name of the built-in profile, "${nKudo.name}".`,
      cause,
    );
  }
  if (text.length > maxProfileBytes)
    throw fail(`the profile "${nameOrFile}" is too large`, "A profile has at most 4 MiB.");
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (cause) {
    throw fail(`the profile "${nameOrFile}" is not JSON`, "Check the file with jq.", cause);
  }
  const problems = check(document);
  if (problems.length > 0) {
    throw new AppError(
      "invalid-profile",
      ExitCode.usage,
      `the profile "${nameOrFile}" is invalid: ${problems[0]}`,
      {
        hint: "schemas/profile.schema.json describes what a profile may say; docs/profile.md explains it.",
        details: problems,
      },
    );
  }
  return withDefaults(document as ProfileFile);
}

/** Everything but the root's table has a default. */
export function withDefaults(file: ProfileFile): Profile {
  const root: Partial<Profile["root"]> & { readonly table: string } = file.root;
  return {
    name: file.name ?? "custom",
    version: file.version ?? 1,
    root: {
      table: root.table,
      key: root.key ?? "id",
      lookup: root.lookup ?? [],
      ...(root.label === undefined ? {} : { label: root.label }),
    },
    ...(file.migrations === undefined ? {} : { migrations: file.migrations }),
    global: file.global ?? {},
    references: file.references ?? [],
    ownership: file.ownership ?? {},
    oneWay: file.oneWay ?? {},
    oneWayWith: file.oneWayWith ?? {},
    appendOnly: file.appendOnly ?? [],
    chain: file.chain ?? {},
    secrets: file.secrets ?? {},
    personal: file.personal ?? {},
    inFlight: mapValues(file.inFlight, (entry) => ({ set: {}, clear: [], ...entry })),
    expire: mapValues(file.expire, (entry) => ({ set: {}, ...entry })),
    logs: file.logs ?? {},
    groups: mapValues(file.groups, (entry) => ({ by: [], ...entry })),
    clone: { leaveOut: {}, drop: {}, renumber: {}, ids: {}, ...file.clone },
  };
}

/** Entries of a file may lack what has a default, whatever their type says. */
function mapValues<T>(
  entries: Readonly<Record<string, T>> | undefined,
  complete: (entry: Partial<T>) => unknown,
): Readonly<Record<string, T>> {
  return Object.fromEntries(
    Object.entries(entries ?? {}).map(([name, entry]) => [name, complete(entry) as T]),
  );
}
