import { randomBytes } from "node:crypto";
import { basename } from "node:path";

const pattern = /^\.(.+)\.[0-9a-f]{8}\.partial$/;

/** The name of a file while it is written, beside the one that it becomes: `.NAME.<hex>.partial`. */
export function temporaryName(path: string): string {
  return `.${basename(path)}.${randomBytes(4).toString("hex")}.partial`;
}

/** The name that a file under a temporary name was to have; undefined for any other file. */
export function nameToBe(name: string): string | undefined {
  return pattern.exec(name)?.[1];
}

/** Dot files, and what a program left unfinished, are no objects of a store. */
export function isHidden(key: string): boolean {
  return key.split("/").some((part) => part.startsWith(".") || part.endsWith(".partial"));
}
