import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { forServer, setsTooMuch } from "../../../src/backup/older-server.ts";

const head = [
  "--",
  "-- PostgreSQL database dump",
  "--",
  "",
  "\\restrict abc",
  "",
  "SET statement_timeout = 0;",
  "SET transaction_timeout = 0;",
  "SELECT pg_catalog.set_config('search_path', '', false);",
  "",
].join("\n");
const rest =
  "CREATE TABLE public.t (v text);\nCOPY public.t (v) FROM stdin;\nSET transaction_timeout = 0;\n\\.\n";

async function loaded(text: string, serverMajor: number, step = text.length): Promise<string> {
  async function* chunks() {
    const bytes = Buffer.from(text);
    for (let at = 0; at < bytes.length; at += step) yield bytes.subarray(at, at + step);
  }
  return Buffer.concat(await Array.fromAsync(forServer(chunks(), serverMajor))).toString();
}

suite("a script of newer programs for an older server", () => {
  const without = head.replace("SET transaction_timeout = 0;\n", "");

  test("has no setting that it does not know, however the bytes come, and all of its rows", async () => {
    for (const step of [1, 7, 100_000]) {
      assert.equal(await loaded(head + rest, 16, step), without + rest);
      assert.equal(await loaded(head, 14, step), without, "nothing but a head");
    }
    assert.equal(await loaded(without + rest, 16, 3), without + rest);
    assert.equal(await loaded("", 16), "");
  });

  test("is left as it is for a server that knows it", async () => {
    assert.equal(await loaded(head + rest, 17), head + rest);
  });

  test("that begins otherwise is handed on, whatever it is", async () => {
    const long = `${"-".repeat(200_000)}\nSET transaction_timeout = 0;\n`;
    assert.equal(await loaded(long, 15, 50_000), long);
    const bytes = `ÄÖ\nSET transaction_timeout = 0;\n${rest}`;
    assert.equal(await loaded(bytes, 15, 1), bytes);
  });

  test("is what pg_restore of 17 and later is asked for there", () => {
    assert.deepEqual(
      [setsTooMuch(16, 15), setsTooMuch(17, 16), setsTooMuch(18, 14), setsTooMuch(18, 17)],
      [false, true, true, false],
    );
  });
});
