/**
 * The obvious way to export, as a yardstick: a Kysely cursor over every table of the tenant,
 * `JSON.stringify` for each row, zstd behind it. Run with DATABASE_URL, the tenant's id, and
 * the output file.
 */
import { createWriteStream } from "node:fs";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { constants, createZstdCompress } from "node:zlib";
import { Kysely, PostgresDialect, sql } from "kysely";
import pg from "pg";
import Cursor from "pg-cursor";

const [, , output = "", ...queries] = process.argv;
const db = new Kysely<unknown>({
  dialect: new PostgresDialect({
    pool: new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 1 }),
    cursor: Cursor,
  }),
});

async function* lines(): AsyncGenerator<string> {
  for (const query of queries) {
    for await (const row of db.getExecutor().stream(sql.raw(query).compile(db), 1000)) {
      for (const record of row.rows) yield `${JSON.stringify(record)}\n`;
    }
  }
}

await pipeline(
  Readable.from(lines()),
  createZstdCompress({ params: { [constants.ZSTD_c_compressionLevel]: 1 } }),
  createWriteStream(output),
);
await db.destroy();
