import { Readable } from "node:stream";
import { AppError, ExitCode } from "../../src/errors.ts";
import type { Store, StoredObject } from "../../src/storage/store.ts";

export interface MemoryStore extends Store {
  readonly objects: Map<string, Buffer>;
  /** Keys that the store does not let go. */
  readonly locked: Set<string>;
  /** Keys whose reading fails with exit 8. */
  readonly unreadable: Set<string>;
  /** Every removal, in order, refused ones included. */
  readonly removals: string[];
  /** How many reads were going on at once, at most. */
  mostReads: number;
  put(key: string, content: string | Uint8Array): void;
}

/** A store without a disk, for tests of what is done with a store. */
export function memoryStore(
  place = "/memory",
  kind: Store["kind"] = "local",
  content: Readonly<Record<string, string>> = {},
): MemoryStore {
  const objects = new Map<string, Buffer>();
  let reads = 0;
  const fail = (code: string, key: string) =>
    new AppError(code, ExitCode.storage, `${code}: "${place}/${key}"`, { hint: "Look there." });
  const describe = (key: string, bytes: Buffer): StoredObject => ({
    key,
    bytes: bytes.length,
    modifiedAt: new Date(0),
  });
  const store: MemoryStore = {
    kind,
    place,
    objects,
    locked: new Set(),
    unreadable: new Set(),
    removals: [],
    mostReads: 0,
    put: (key, bytes) => objects.set(key, Buffer.from(bytes)),
    nameOf: (key) => `${place}/${key}`,
    async *list(prefix = "") {
      for (const key of [...objects.keys()].sort()) {
        const bytes = objects.get(key);
        if (key.startsWith(prefix) && bytes !== undefined) yield describe(key, bytes);
      }
    },
    async stat(key) {
      const bytes = objects.get(key);
      return bytes === undefined ? undefined : describe(key, bytes);
    },
    async read(key) {
      reads += 1;
      store.mostReads = Math.max(store.mostReads, reads);
      await new Promise((resolve) => setTimeout(resolve, 1));
      reads -= 1;
      const bytes = objects.get(key);
      if (bytes === undefined) throw fail("no-such-object", key);
      if (store.unreadable.has(key)) throw fail("unreadable", key);
      return Readable.from([bytes], { objectMode: false });
    },
    async write(key, source, options = {}) {
      if (objects.has(key) && options.overwrite !== true) throw fail("object-exists", key);
      const bytes = Buffer.concat(await Array.fromAsync(source));
      if (objects.has(key) && options.overwrite !== true) throw fail("object-exists", key);
      objects.set(key, bytes);
      return { bytes: bytes.length };
    },
    async remove(key) {
      store.removals.push(key);
      if (store.locked.has(key)) throw fail("object-locked", key);
      objects.delete(key);
    },
    sweep: async () => [],
    close: async () => undefined,
  };
  for (const [key, text] of Object.entries(content)) store.put(key, text);
  return store;
}
