import { Client, type QueryResultRow } from "pg";
import { serverUrl } from "./database.ts";

/** A session in a database of the test server that something else has made. */
export interface OtherDatabase {
  query<Row extends QueryResultRow>(sql: string, values?: readonly unknown[]): Promise<Row[]>;
  end(): Promise<void>;
}

/** Connects to a database of the test server, whatever its name, at first use. */
export function databaseAt(name: string): OtherDatabase {
  let connected: Promise<Client> | undefined;
  const connect = async () => {
    const { hostname, port, username, password } = new URL(serverUrl());
    // Not by a URL, of whose path pg decodes only a part.
    const client = new Client({
      host: hostname,
      port: Number(port),
      user: username,
      password,
      database: name,
      application_name: "pgtenant-test",
    });
    client.on("error", () => undefined); // a restore may end it
    await client.connect();
    return client;
  };
  return {
    async query<Row extends QueryResultRow>(sql: string, values: readonly unknown[] = []) {
      connected ??= connect();
      const client = await connected;
      return (await client.query<Row>(sql, [...values])).rows;
    },
    async end() {
      await (await connected)?.end();
    },
  };
}

/** Runs statements in the superuser's own database. */
export async function onServer<Row extends QueryResultRow>(
  sql: string,
  values: readonly unknown[] = [],
): Promise<Row[]> {
  const admin = databaseAt("postgres");
  try {
    return await admin.query<Row>(sql, values);
  } finally {
    await admin.end();
  }
}

/** The databases whose names begin so, in their order. */
export async function databasesLike(prefix: string): Promise<readonly string[]> {
  const rows = await onServer<{ name: string }>(
    "SELECT datname::text AS name FROM pg_database WHERE starts_with(datname::text, $1) ORDER BY 1",
    [prefix],
  );
  return rows.map((row) => row.name);
}

export async function dropDatabases(...names: readonly string[]): Promise<void> {
  for (const name of names) {
    await onServer(`DROP DATABASE IF EXISTS "${name.replaceAll('"', '""')}" WITH (FORCE)`);
  }
}
