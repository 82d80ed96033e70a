import { createHash, randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { Client, type QueryResultRow } from "pg";

/** Where the fixtures of a template come from: a schema, then its seed. */
const templates = {
  /** N-Kudo's schema as it is now, with two tenants and more. */
  "n-kudo": ["schema.sql", "seed.sql"],
  /** The same as of migration 0004. */
  "n-kudo-0004": ["schema-0004.sql", "seed.sql"],
} as const;

export type TemplateName = keyof typeof templates;

export interface TemplateOptions {
  /** Settings of the session that loads the seed, such as `{ "seed.big": "off" }`. */
  readonly settings?: Readonly<Record<string, string>>;
}

/** A database of one test file's own. */
export interface TestDatabase {
  readonly name: string;
  readonly url: string;
  /** Runs a statement on the helper connection, which is opened at first use. */
  query<Row extends QueryResultRow>(sql: string, values?: readonly unknown[]): Promise<Row[]>;
  /** Another connection, closed by `drop` at the latest. */
  connect(): Promise<Client>;
  /** Closes our connections and drops the database, ending whatever is still connected to it. */
  drop(): Promise<void>;
}

/** The URL of a database of the test server; without a name, of the superuser's own. */
export function serverUrl(database?: string): string {
  const url = process.env.PGTENANT_TEST_URL;
  if (url === undefined || url === "") {
    throw new Error(
      "PGTENANT_TEST_URL is not set: run tests with `npm test`, or one file with `node test/run.ts test/integration/….test.ts`",
    );
  }
  if (database === undefined) return url;
  const changed = new URL(url);
  changed.pathname = `/${encodeURIComponent(database)}`;
  return changed.href;
}

/** The SQL of a template's fixtures: the schema, then the rows. */
export function fixturesOf(name: TemplateName): Promise<readonly string[]> {
  return Promise.all(
    templates[name].map((file) =>
      readFile(new URL(`../../fixtures/n-kudo/${file}`, import.meta.url), "utf8"),
    ),
  );
}

/**
 * The name of a template database, made at first use and once per server. Test files that run at
 * the same time wait for each other; a template whose making was interrupted is made anew.
 */
export async function templateDatabase(
  name: TemplateName,
  options: TemplateOptions = {},
): Promise<string> {
  const fixtures = await fixturesOf(name);
  const settings = Object.entries(options.settings ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  const content = JSON.stringify([fixtures, settings]);
  const digest = createHash("sha256").update(content).digest("hex").slice(0, 12);
  const database = `template_${name.replaceAll("-", "_")}_${digest}`;

  await withClient(serverUrl(), async (admin) => {
    await admin.query("SELECT pg_advisory_lock(hashtext($1))", [database]);
    const { rows } = await admin.query<{ datistemplate: boolean }>(
      "SELECT datistemplate FROM pg_database WHERE datname = $1",
      [database],
    );
    if (rows[0]?.datistemplate) return;
    await admin.query(`DROP DATABASE IF EXISTS ${database} WITH (FORCE)`);
    await admin.query(`CREATE DATABASE ${database} TEMPLATE template0`);
    await withClient(serverUrl(database), async (client) => {
      for (const [setting, value] of settings) {
        await client.query("SELECT set_config($1, $2, false)", [setting, value]);
      }
      for (const sql of fixtures) await client.query(sql);
      // No statistics, no visibility map: every copy would have to make them itself.
      await client.query("VACUUM (ANALYZE)");
    });
    // Marked last, since this is what says that it is complete.
    await admin.query(`ALTER DATABASE ${database} IS_TEMPLATE true ALLOW_CONNECTIONS false`);
  });
  return database;
}

/**
 * Makes a database for a test file (or suite, which its name shows), as a copy of the template;
 * `empty` has nothing in it.
 */
export async function createDatabase(
  suite: string,
  template: TemplateName | "empty",
  options: TemplateOptions = {},
): Promise<TestDatabase> {
  const source = template === "empty" ? "template0" : await templateDatabase(template, options);
  const slug = suite
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "_")
    .slice(0, 40);
  const name = `test_${slug}_${randomBytes(4).toString("hex")}`;
  await withClient(serverUrl(), (admin) =>
    admin.query(`CREATE DATABASE ${name} TEMPLATE ${source}`),
  );
  const url = serverUrl(name);
  const clients: Client[] = [];
  let helper: Promise<Client> | undefined;

  async function connect(): Promise<Client> {
    const client = new Client({ connectionString: url, application_name: "pgtenant-test" });
    client.on("error", () => {}); // a test may end its connections; the next query tells
    clients.push(client);
    await client.connect();
    return client;
  }

  return {
    name,
    url,
    connect,
    async query<Row extends QueryResultRow>(sql: string, values: readonly unknown[] = []) {
      helper ??= connect();
      // Without values as a simple query, which may consist of several statements.
      const client = await helper;
      const result = await (values.length === 0
        ? client.query<Row>(sql)
        : client.query<Row>(sql, [...values]));
      return result.rows;
    },
    async drop() {
      await Promise.allSettled(clients.map((client) => client.end()));
      await withClient(serverUrl(), (admin) =>
        admin.query(`DROP DATABASE IF EXISTS ${name} WITH (FORCE)`),
      );
    },
  };
}

async function withClient<T>(url: string, work: (client: Client) => Promise<T>): Promise<T> {
  const client = new Client({ connectionString: url, application_name: "pgtenant-test" });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
