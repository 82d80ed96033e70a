import { AppError, ExitCode } from "../errors.ts";

/**
 * Gives the key back if it can be one: relative, of parts between single slashes, none of them
 * `.` or `..`.
 *
 * @throws {AppError} exit 2, code `bad-key`
 */
export function checkKey(key: string): string {
  if (!isKey(key)) {
    throw new AppError("bad-key", ExitCode.usage, `"${key}" cannot be the name of a stored file`, {
      hint: "Give a relative name with single slashes and without the parts . and ..",
    });
  }
  return key;
}

export function isKey(key: string): boolean {
  const parts = key.split("/");
  return !key.includes("\0") && parts.every((part) => part !== "" && part !== "." && part !== "..");
}

/** The order of keys: that of their UTF-8 bytes, in which S3 lists them. */
export function compareKeys(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

export function noSuchObject(name: string): AppError {
  return new AppError("no-such-object", ExitCode.storage, `there is no "${name}"`, {
    hint: "Check the name, and where it is looked for; pgtenant list shows what is stored.",
  });
}

export function objectExists(name: string): AppError {
  return new AppError("object-exists", ExitCode.storage, `"${name}" exists already`, {
    hint: "It was left as it is. Choose another name, or remove it first.",
  });
}

export function objectLocked(name: string, why: string, cause: unknown): AppError {
  return new AppError("object-locked", ExitCode.storage, `"${name}" may not be removed (${why})`, {
    hint: "It is kept by an object lock, a retention rule or missing rights, and stays until they end.",
    cause,
  });
}
