import { Client, type QueryResultRow } from "pg";
import { databaseDigest } from "./database-digest.ts";

/** What is defined in a database, beside its rows: one line each. */
const definitions = `
  SELECT format('column %s.%s %s %s %s', a.attrelid::regclass, a.attname, format_type(atttypid, atttypmod),
                attnotnull, pg_get_expr(adbin, adrelid)) AS line
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
         JOIN pg_namespace n ON n.oid = c.relnamespace
         LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
   WHERE c.relkind IN ('r', 'v', 'p') AND attnum > 0 AND NOT attisdropped AND n.nspname !~ '^(pg_|information_schema)'
  UNION ALL
  SELECT format('constraint %s on %s %s', conname, conrelid::regclass, pg_get_constraintdef(k.oid))
    FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace
   WHERE n.nspname !~ '^(pg_|information_schema)'
  UNION ALL
  SELECT indexdef FROM pg_indexes WHERE schemaname !~ '^(pg_|information_schema)'
  UNION ALL
  SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
  UNION ALL
  SELECT format('function %s', p.oid::regprocedure)
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
   WHERE n.nspname !~ '^(pg_|information_schema)'
   ORDER BY line`;

/**
 * Every row and sequence of a database, and every column, constraint, index and trigger: equal
 * texts mean equal databases.
 */
export async function wholeDigest(databaseUrl: string): Promise<string> {
  return await withClient(databaseUrl, async (client) => {
    // What a killed program has begun, the server takes back; a minute is more than enough.
    await client.query("SET lock_timeout = '60s'");
    const query = async <Row extends QueryResultRow>(sql: string) =>
      (await client.query<Row>(sql)).rows;
    const rows = Object.entries(await databaseDigest({ query }));
    const lines = await query<{ line: string }>(definitions);
    return [...rows.map((one) => one.join(" ")), ...lines.map(({ line }) => line)].join("\n");
  });
}

export async function withClient<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url, application_name: "pgtenant-test" });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
