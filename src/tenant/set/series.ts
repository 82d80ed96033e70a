import { createHash } from "node:crypto";
import { keyIdOf } from "../../bundle/key-id.ts";
import type { Session } from "../../postgres/session.ts";
import { systemIdentifier } from "../../postgres/system-identifier.ts";
import type { BundleForm } from "../bundle-path.ts";
import type { Selection } from "../import-types.ts";
import type { OpenSchema } from "../open-schema.ts";
import type { RedactionChoice } from "../redaction.ts";
import type { Shard } from "./shard.ts";

export interface SeriesOptions extends BundleForm {
  readonly shard: Shard | null;
  readonly selection?: Selection | undefined;
  readonly redact?: RedactionChoice | undefined;
  readonly validate: boolean;
}

/** A hash of all that the bundles of a set have in common: who may go on with it has the same. */
export async function seriesOf(
  session: Session,
  schema: OpenSchema,
  options: SeriesOptions,
): Promise<string> {
  const { shard, layout, compression, encryption, selection, redact, validate } = options;
  const common = [
    [session.database, await systemIdentifier(session)],
    [schema.profile.name, schema.profile.version, schema.unclassified],
    shard === null ? null : [shard.index, shard.of],
    [layout, compression, encryption.method, keyIdOf(encryption)],
    [selection ?? null, redact ?? null, validate],
  ];
  return createHash("sha256").update(JSON.stringify(common)).digest("hex").slice(0, 16);
}
