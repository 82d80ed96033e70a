import { oneChunk } from "../../storage/one-chunk.ts";
import type { Store } from "../../storage/store.ts";
import { manifestKey } from "./set-name.ts";
import { setText, type TenantSet } from "./tenant-set.ts";

/** Replaces the set's manifest; a reader finds the old one or the new one. */
export async function writeManifest(store: Store, set: TenantSet): Promise<void> {
  await store.write(manifestKey(set.id), oneChunk(setText(set)), { overwrite: true });
}
