import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { openLocalStore } from "../../src/storage/local-store.ts";
import type { Store } from "../../src/storage/store.ts";

/** A kind of store, as the contract suite sees it. */
export interface StoreKind {
  readonly name: string;
  /** Why it cannot be tested on this machine. */
  readonly skip: string | undefined;
  readonly make: () => Promise<StoreUnderTest>;
}

export interface StoreUnderTest {
  /** Of a place of its own, which does not exist or is empty at first. */
  readonly store: Store;
  /** What is there and no object: temporary files, pending uploads. */
  readonly unfinished: () => Promise<readonly string[]>;
  /** Leaves what a run that is killed while it writes this key would leave. */
  readonly leaveUnfinished: (key: string) => Promise<void>;
  readonly dispose: () => Promise<void>;
}

export const localFolder: StoreKind = {
  name: "a local folder",
  skip: undefined,
  async make() {
    const folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    const root = join(folder, "backups");
    const store = openLocalStore(root);
    return {
      store,
      async unfinished() {
        const names = await readdir(folder, { recursive: true });
        return names.filter((name) => name.endsWith(".partial")).sort();
      },
      async leaveUnfinished(key) {
        const path = join(root, dirname(key), `.${key.split("/").at(-1)}.0123abcd.partial`);
        await writeFile(path, "half");
      },
      async dispose() {
        await store.close();
        await rm(folder, { recursive: true, force: true });
      },
    };
  },
};

export async function* chunks(...parts: readonly (string | Uint8Array)[]) {
  for (const part of parts) yield typeof part === "string" ? Buffer.from(part) : part;
}

export async function readAll(store: Store, key: string): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(await store.read(key)));
}

export async function keysOf(store: Store, prefix?: string): Promise<readonly string[]> {
  return (await Array.fromAsync(store.list(prefix))).map((object) => object.key);
}
