import type { Readable } from "node:stream";

/** One object of a store, as a listing tells it. */
export interface StoredObject {
  /** Relative to the store's root, with slashes: `backup_20260101_020000.sql.gz`. */
  readonly key: string;
  readonly bytes: number;
  readonly modifiedAt: Date;
}

export interface WriteOptions {
  /** Ends the writing, and removes what was written, when it fires. */
  readonly signal?: AbortSignal | undefined;
  /** Replaces an object of this key; by default a key that is taken is refused. */
  readonly overwrite?: boolean | undefined;
}

/**
 * A place for backups: a local folder, or a bucket of an S3 server with a prefix. One suite of
 * tests holds every store to what is said here (`test/contract/store.test.ts`).
 *
 * Keys are relative, with slashes; a key that is empty, absolute, or has a part `.` or `..` is
 * refused with exit 2 and never leaves the root. Every other failure is an AppError with exit 8
 * whose message names the place; it never holds a secret. Passing failures of a network are
 * tried again a bounded number of times, with growing, jittered pauses.
 */
export interface Store {
  readonly kind: "local" | "s3";
  /** As messages name it: `/var/backups/n-kudo`, `s3://bucket/prefix`. */
  readonly place: string;
  /** As messages name one object in it: `/var/backups/n-kudo/x`, `s3://bucket/prefix/x`. */
  nameOf(key: string): string;
  /**
   * Every object whose key begins with `prefix`, in the order of keys, however many there are;
   * nothing when the place does not exist yet. Files under temporary names are no objects.
   */
  list(prefix?: string): AsyncIterable<StoredObject>;
  /** Undefined when there is no such object. */
  stat(key: string): Promise<StoredObject | undefined>;
  /** @throws {AppError} exit 8, code `no-such-object`, when there is no such object */
  read(key: string, options?: { readonly signal?: AbortSignal | undefined }): Promise<Readable>;
  /**
   * Writes an object that has its key only when it is complete and durable. Whatever goes wrong,
   * or when the source throws, nothing of it is left: no partial file, no pending upload.
   *
   * @throws {AppError} exit 8, code `object-exists`, when the key is taken
   */
  write(
    key: string,
    source: AsyncIterable<Uint8Array>,
    options?: WriteOptions,
  ): Promise<{ readonly bytes: number }>;
  /**
   * Removes an object; that there is none is no error.
   *
   * @throws {AppError} exit 8, code `object-locked`, when the store may not let it go (object
   *   lock, retention, missing right)
   */
  remove(key: string): Promise<void>;
  /**
   * Clears away what a run that was killed has left of objects whose keys begin with `prefix`:
   * temporary files, pending uploads. The caller holds a lock that says nobody is writing them.
   * Gives what was removed, as messages name it.
   */
  sweep(prefix: string): Promise<readonly string[]>;
  /** Ends connections; the store is of no use afterwards. */
  close(): Promise<void>;
}
