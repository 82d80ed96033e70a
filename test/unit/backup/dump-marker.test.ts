import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { dumpVersions, endsWithMarker, staysInDatabase } from "../../../src/backup/dump-marker.ts";

const end = "--\n-- PostgreSQL database dump complete\n--\n\n";

/** The text in pieces of so many bytes. */
async function* pieces(text: string, bytes: number): AsyncGenerator<Uint8Array> {
  const all = Buffer.from(text);
  for (let at = 0; at < all.length; at += bytes) yield all.subarray(at, at + bytes);
}

async function read(bytes: AsyncIterable<Uint8Array>): Promise<string> {
  return Buffer.concat(await Array.fromAsync(bytes)).toString();
}

suite("the end of a plain dump", () => {
  test("is found in pieces of any size, with what newer versions write behind it", async () => {
    for (const text of [end, `SELECT 1;\n${end}\\unrestrict abc\n\n`]) {
      for (const size of [1, 7, 1000, 100_000]) {
        assert.equal(await read(endsWithMarker(pieces(text, size))), text);
      }
    }
  });

  test("is missed when it is cut, also between two statements: exit 3 with the name", async () => {
    for (const text of ["SELECT 1;\n", end.slice(0, -15), `${end}${"x".repeat(2000)}`, ""]) {
      await assert.rejects(read(endsWithMarker(pieces(text, 64), '"a.sql"')), {
        code: "incomplete-dump",
        exitCode: 3,
        message: /^"a\.sql" is cut short: its end, ".*", is missing$/,
      });
    }
  });
});

suite("a plain dump that goes to another database", () => {
  const script = "CREATE DATABASE other;\n\\connect other\nCREATE TABLE t ();\n";

  test("is refused wherever the line is cut: exit 4", async () => {
    for (let size = 1; size < script.length; size += 1) {
      await assert.rejects(read(staysInDatabase(pieces(script, size), '"a.sql"')), {
        code: "dump-of-a-server",
        exitCode: 4,
      });
    }
  });

  test("is not one that has the word elsewhere", async () => {
    const harmless = "-- \\connect other\nCOPY t FROM stdin;\nx \\connect y\n\\\\connect z\n\\.\n";
    for (const size of [1, 5, 1000]) {
      assert.equal(await read(staysInDatabase(pieces(harmless, size), "it")), harmless);
    }
  });
});

test("the versions are read from a plain dump's head and from a list of an archive", () => {
  assert.deepEqual(
    dumpVersions(
      "-- Dumped from database version 15.18 (Debian 15.18-0)\n-- Dumped by pg_dump version 16beta1\n",
    ),
    { server: "15.18", pgDump: "16beta1" },
  );
  assert.deepEqual(
    dumpVersions(
      ";     Dumped from database version: 14.2\n;     Dumped by pg_dump version: 14.2\n",
    ),
    { server: "14.2", pgDump: "14.2" },
  );
  assert.deepEqual(dumpVersions("SELECT 1;"), { server: undefined, pgDump: undefined });
});
