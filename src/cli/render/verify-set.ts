import type { TenantSet } from "../../tenant/set/tenant-set.ts";
import type { BadBundle, VerifiedSet } from "../../tenant/set/verify-set.ts";
import { count, counted, duration, size } from "./units.ts";

export function setText(found: VerifiedSet, storedOnly: boolean, seconds: number): string {
  const { set, name, rows, bytes } = found;
  const shard = set.shard === null ? "" : `, shard ${set.shard.index}/${set.shard.of}`;
  const gone = set.tenants.filter((tenant) => tenant.gone === true).length;
  return [
    `the set "${name}" is complete and ${storedOnly ? "its stored bytes are" : "every bundle is"} whole${storedOnly ? "" : " and valid"}: ${counted(set.tenants.length, "tenant")} of the database "${set.database}"${shard}`,
    `  ${counted(rows, "row")}, ${size(bytes)}, from ${counted(set.snapshots.length, "snapshot")}, in ${duration(seconds)}`,
    ...(gone > 0 ? [`  ${count(gone)} of them were dropped while the set was made`] : []),
  ].join("\n");
}

/** What a set lacks, in a sentence; undefined when it is complete. */
export function incompleteText({ complete, failed, missing }: TenantSet): string | undefined {
  if (complete) return undefined;
  const lacks = [
    ...(failed.length > 0 ? [`${counted(failed.length, "tenant")} could not be exported`] : []),
    ...(missing > 0 ? [`${counted(missing, "tenant")} had no turn`] : []),
  ];
  const names = failed.slice(0, 20).map(({ slug, id }) => `"${slug ?? id}"`);
  return `not complete${lacks.length > 0 ? `: ${lacks.join(", ")}` : ""}${names.length > 0 ? ` (${names.join(", ")}${failed.length > 20 ? ", …" : ""})` : ""}`;
}

export function badBundleLine({ tenant, reason }: BadBundle): string {
  return `tenant "${tenant.slug ?? tenant.id}", "${tenant.path}": ${reason}`;
}

export function setDocument({ set, name, rows, bytes, bad }: VerifiedSet, storedOnly: boolean) {
  const { id, complete, database, shard, snapshots, failed, missing } = set;
  return {
    valid: bad.length === 0 && complete,
    set: { id, manifest: name, complete, database, shard, snapshots, missing },
    tenants: set.tenants.length,
    rows,
    bytes,
    storedOnly,
    bad,
    failed,
  };
}
