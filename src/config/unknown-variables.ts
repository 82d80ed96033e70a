import { distance } from "fastest-levenshtein";
import { AppError, ExitCode } from "../errors.ts";
import { knownNames } from "./variables.ts";

const ours = /^(BACKUP|PGTENANT)_/i;

/**
 * The variables with our prefixes that we do not know. Kubernetes injects some for services of
 * such a name; one that looks like a known name is a typing mistake, and must not be ignored.
 *
 * @throws {AppError} exit 2 for a name that looks like a known one
 */
export function unknownVariables(names: Iterable<string>): readonly string[] {
  const unknown = [...names].filter((name) => ours.test(name) && !knownNames.includes(name));
  for (const name of unknown) {
    const near = knownNames.find((known) => looksLike(name, known));
    if (near === undefined) continue;
    throw new AppError(
      "unknown-variable",
      ExitCode.usage,
      `the environment variable ${name} is unknown; it looks like ${near}`,
      {
        hint: `Rename it to ${near}, or unset ${name}.`,
        data: { variable: name, near },
      },
    );
  }
  return unknown.sort();
}

/** `BACKUP_ENCRYPTION`, `BACKUP_RETENTION`, `BACKUP_DIRS`; but not `BACKUP_PORT`. */
function looksLike(name: string, known: string): boolean {
  const upper = name.toUpperCase();
  const word = upper.replace(ours, "");
  const knownWord = known.replace(ours, "");
  if (knownWord.startsWith(`${word}_`)) return true;
  const allowed = Math.min(3, Math.max(1, Math.floor(word.length / 3)));
  return distance(upper, known) <= allowed;
}
