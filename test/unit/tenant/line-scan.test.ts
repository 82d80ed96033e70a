import assert from "node:assert/strict";
import { suite, test } from "node:test";
import fc from "fast-check";
import { LineScan } from "../../../src/tenant/selection/line-scan.ts";

const wanted = "0c9b3ad4-3c4a-4c53-9d5d-4f1a4d2a1b3c";
const other = "0c9b3ad4-3c4a-4c53-9d5d-4f1a4d2a1b3d";

function mayMatter(line: string, values: readonly string[] = [wanted], name = "site"): boolean {
  const batch = Buffer.from(`{"before":1}\n${line}\n`);
  const start = batch.indexOf(0x0a) + 1;
  return new LineScan([{ name, values: new Set(values) }]).mayMatter(batch, start, batch.length);
}

suite("a scan of lines", () => {
  test("passes over a row whose column plainly holds another value", () => {
    assert.ok(!mayMatter(`{"site":"${other}","x":1}`));
    assert.ok(!mayMatter(`{"id":1,"site":"${other}"}`));
    assert.ok(!mayMatter('{"id":1,"site":7}', ["8"]));
    assert.ok(!mayMatter('{"site":null}'));
    assert.ok(mayMatter(`{"id":1,"site":"${wanted}"}`));
    assert.ok(mayMatter('{"id":1,"site":-8}', ["-8"]));
  });

  test("leaves to the parser what is not written as row_to_json does", () => {
    for (const line of [
      `{"id":1,"site": "${other}"}`,
      `{"id":1,"site":"${other.toUpperCase()}"}`,
      '{"id":1,"site":1e3}',
      '{"id":1,"s\\u0069te":1}',
      '{"id":1,"a\\"site":1}',
      '{"id":1}',
      '{"id":1,"site":"',
      "",
    ]) {
      assert.ok(mayMatter(line), line);
    }
  });

  test("is not deceived by a text that looks like a column", () => {
    const text = `","site":"${other}","x":"`;
    assert.ok(mayMatter(JSON.stringify({ message: text, site: wanted })));
    assert.ok(!mayMatter(JSON.stringify({ message: text.replace(other, wanted), site: other })));
  });

  test("never passes over a row that matters, whatever else is in it", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.integer(), (row, site) => {
        assert.ok(mayMatter(JSON.stringify({ ...row, site }), [String(site)]));
      }),
    );
  });

  test("takes digits that a double cannot hold for what a double makes of them", () => {
    assert.ok(mayMatter('{"id":1,"site":9007199254740993}', [String(Number("9007199254740993"))]));
  });
});
