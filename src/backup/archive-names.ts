import { AppError, ExitCode } from "../errors.ts";
import type { TarEntry } from "./tar-reader.ts";

const maxEntries = 1_000_000;
const maxPathBytes = 4096;

/**
 * Watches over the names of an archive: each leads to a place of its own inside of the folder,
 * and none goes through a file or a link, whichever of the two comes first.
 */
export class ArchiveNames {
  readonly #kinds = new Map<string, TarEntry["kind"]>();
  /** Every name that something else lies below. */
  readonly #parents = new Set<string>();
  readonly #archive: string;

  /** @param archive how messages call it */
  constructor(archive: string) {
    this.#archive = archive;
  }

  /** @throws {AppError} exit 3 for a name that may not be */
  add(entry: Pick<TarEntry, "name" | "kind">): void {
    const { name, kind } = entry;
    const parts = name.split("/");
    if (name === "" || name.startsWith("/")) throw this.#refused(name, "an absolute or empty name");
    if (parts.some((part) => part === "" || part === "." || part === "..")) {
      throw this.#refused(name, "a name that leads out of its folder or nowhere");
    }
    if (name.includes("\0")) throw this.#refused(name, "a name that no file can have");
    if (Buffer.byteLength(name) > maxPathBytes)
      throw this.#refused(name, "a name that is too long");
    if (this.#kinds.has(name)) throw this.#refused(name, "two entries of one name");
    if (this.#kinds.size >= maxEntries)
      throw this.#refused(name, `more than ${maxEntries} entries`);
    for (let depth = 1; depth < parts.length; depth++) {
      const parent = parts.slice(0, depth).join("/");
      const kindOfParent = this.#kinds.get(parent);
      if (kindOfParent !== undefined && kindOfParent !== "folder") {
        throw this.#refused(name, `a name that goes through a ${kindOfParent}`);
      }
      this.#parents.add(parent);
    }
    if (kind !== "folder" && this.#parents.has(name)) {
      throw this.#refused(name, `a ${kind} where others need a folder`);
    }
    this.#kinds.set(name, kind);
  }

  #refused(name: string, why: string): AppError {
    return new AppError(
      "refused-entry",
      ExitCode.invalidInput,
      `${this.#archive} holds ${why}: ${JSON.stringify(name.slice(0, 200))}`,
      {
        hint: "pgtenant never writes such an entry; the archive is corrupt or was forged. Take another copy.",
        data: { entry: name.slice(0, maxPathBytes) },
      },
    );
  }
}
