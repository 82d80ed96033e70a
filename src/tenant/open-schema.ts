import type { ShippedTable } from "../bundle/row-schema.ts";
import { checkDocument, shippedTables } from "../bundle/shipped-schemas.ts";
import { readCatalog } from "../catalog/read-catalog.ts";
import type { Session } from "../postgres/session.ts";
import { classify, type TenantSchema } from "../profile/classify.ts";
import { loadProfile } from "../profile/load.ts";
import type { Profile } from "../profile/profile.ts";

export interface SchemaOptions {
  /** A built-in profile's name or the path of a profile file. */
  readonly profile: string;
  readonly acceptUnclassified: boolean;
}

export interface OpenSchema extends TenantSchema {
  readonly shipped: ReadonlyMap<string, ShippedTable>;
}

export function openProfile(nameOrFile: string): Promise<Profile> {
  return loadProfile(nameOrFile, (document) => {
    const { valid, problems } = checkDocument("profile", document);
    return valid ? [] : problems;
  });
}

/** Reads the connected database's catalog and classifies it by the profile. */
export async function openSchema(session: Session, options: SchemaOptions): Promise<OpenSchema> {
  const profile = await openProfile(options.profile);
  const shipped = shippedTables(profile);
  const catalog = await readCatalog(session);
  const knownColumns =
    shipped.size === 0
      ? undefined
      : new Map(
          [...shipped].map(
            ([name, table]) => [name, new Set(Object.keys(table.properties))] as const,
          ),
        );
  const schema = classify(catalog, profile, {
    acceptUnclassified: options.acceptUnclassified,
    ...(knownColumns === undefined ? {} : { knownColumns }),
  });
  return { ...schema, shipped };
}
