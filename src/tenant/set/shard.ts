import { createHash } from "node:crypto";

/** One of several runs that share out the tenants; the index is from 0. */
export interface Shard {
  readonly index: number;
  readonly of: number;
}

/** Whether a tenant is this run's; every tenant is that of exactly one of them, on any machine. */
export function isInShard(tenantId: string, shard: Shard | null): boolean {
  if (shard === null) return true;
  const hash = createHash("sha256").update(tenantId).digest();
  return hash.readUIntBE(0, 6) % shard.of === shard.index;
}
