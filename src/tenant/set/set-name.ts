import type { Shard } from "./shard.ts";

const idPattern = /^set_(\d{8}_\d{6})(?:_shard(\d+)of(\d+))?$/;
const manifestSuffix = ".manifest.json";
const progressSuffix = ".progress";

/** `set_20260101_020000`, or `set_20260101_020000_shard0of4`. */
export function setIdAt(time: Date, shard: Shard | null): string {
  const stamp = time.toISOString().slice(0, 19).replaceAll(/[-:]/g, "").replace("T", "_");
  return `set_${stamp}${shard === null ? "" : `_shard${shard.index}of${shard.of}`}`;
}

export function manifestKey(id: string): string {
  return `${id}${manifestSuffix}`;
}

/** What the keys of a set's progress begin with: one file, or in S3 numbered parts. */
export function progressPrefix(id: string): string {
  return `${id}${progressSuffix}`;
}

/** The set whose progress is under this key. */
export function idOfProgress(key: string): string | undefined {
  const [id = "", part] = key.split(progressSuffix);
  return idPattern.test(id) && part !== undefined && /^(\.jsonl|\/\d+\.jsonl)$/.test(part)
    ? id
    : undefined;
}

/** The set whose manifest is under this key, or under this path or URL. */
export function idOfManifest(path: string): string | undefined {
  const name = path.slice(path.lastIndexOf("/") + 1);
  const id = name.endsWith(manifestSuffix) ? name.slice(0, -manifestSuffix.length) : "";
  return idPattern.test(id) ? id : undefined;
}
