import { createHash } from "node:crypto";
import { AppError, ExitCode } from "../errors.ts";
import { checkDocument, type DocumentKind } from "./shipped-schemas.ts";

/** What a document that carries its own hash is, for its messages. */
export interface SealedKind {
  readonly schema: DocumentKind;
  /** As messages call it, and as its codes end: `corrupt-manifest`. */
  readonly word: string;
  /** The member that holds its version, which is 1. */
  readonly version: string;
  /** What to do about one that is corrupt. */
  readonly hint: string;
}

/** The document's text: its last member is the SHA-256 of everything before it. */
export function sealedText(document: object, indent: number): string {
  return `${JSON.stringify({ ...document, sha256: digestOf(document) }, null, indent)}\n`;
}

/** An error about a document, in the words of all of them. */
export function corruptDocument(
  { word, hint }: SealedKind,
  name: string,
  why: string,
  details: readonly string[] = [],
): AppError {
  return new AppError(`corrupt-${word}`, ExitCode.invalidInput, `the ${word} ${name} ${why}`, {
    hint,
    details,
  });
}

/**
 * Reads a document and checks it by its schema; then `check` by what only it knows; then its hash.
 *
 * @param name how messages call it
 * @param check gives what is wrong, if anything is
 * @throws {AppError} exit 3 when it is not whole, and for a version that is newer than ours
 */
export function parseSealed<T extends object>(
  kind: SealedKind,
  text: string,
  name: string,
  check: (document: T) => string | undefined,
): T {
  const corrupt = (why: string, details?: readonly string[]) =>
    corruptDocument(kind, name, why, details);
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw corrupt("is corrupt or cut short: it is no JSON");
  }
  if (typeof parsed !== "object" || parsed === null) throw corrupt("is no JSON object");
  const version = (parsed as Readonly<Record<string, unknown>>)[kind.version];
  if (typeof version === "number" && version > 1) {
    throw new AppError(
      `newer-${kind.word}`,
      ExitCode.invalidInput,
      `the ${kind.word} ${name} has version ${version}, and this program knows version 1`,
      { hint: "Use the version of pgtenant that made it, or a newer one." },
    );
  }
  const { valid, problems } = checkDocument(kind.schema, parsed);
  if (!valid) throw corrupt("is not valid", problems);
  const { sha256, ...document } = parsed as T & { readonly sha256: string };
  const wrong = check(document as unknown as T);
  if (wrong !== undefined) throw corrupt(wrong);
  if (digestOf(document) !== sha256) {
    throw corrupt("is corrupt: its own hash does not hold, so something in it was altered");
  }
  return Object.freeze(document as unknown as T);
}

function digestOf(document: object): string {
  return createHash("sha256").update(JSON.stringify(document)).digest("hex");
}
