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
    const near = nearest(name);
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

/**
 * The known name that was meant: by `BACKUP_DIRS` and `backup_dir`, by `PGTENANT_DIR` and
 * `PGTENANT_BACKUP_DIR` (another prefix), and by the beginning `BACKUP_RETENTION`; but none by `BACKUP_PORT`.
 */
function nearest(name: string): string | undefined {
  const upper = name.toUpperCase();
  const word = upper.replace(ours, "");
  const allowed = Math.min(3, Math.max(1, Math.floor(word.length / 3)));
  const off = (known: string): number => {
    const knownWord = known.replace(ours, "");
    if (knownWord === word || known === word) return 0;
    const letters = distance(upper, known);
    if (letters <= allowed) return letters;
    return knownWord.startsWith(`${word}_`) ? allowed + 1 : Number.POSITIVE_INFINITY;
  };
  const [first] = knownNames
    .map((known) => ({ known, off: off(known) }))
    .filter((candidate) => Number.isFinite(candidate.off))
    .sort((a, b) => a.off - b.off);
  return first?.known;
}
