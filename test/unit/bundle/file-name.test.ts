import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { layersOfName } from "../../../src/bundle/file-name.ts";

suite("a bundle's name", () => {
  test("tells layout, compression and encryption", () => {
    const told = (name: string) => {
      const { layout, compression, encryption } = layersOfName(name);
      return [layout, compression, encryption];
    };
    assert.deepEqual(told("a.jsonl"), ["jsonl", "none", "none"]);
    assert.deepEqual(told("a.json.gz"), ["json", "gzip", "none"]);
    assert.deepEqual(told("A.JSONL.ZST.AGE"), ["jsonl", "zstd", "age"]);
    assert.deepEqual(told("a.json.age"), ["json", "none", "age"]);
    assert.deepEqual(told("a.age"), [undefined, undefined, "age"]);
    assert.deepEqual(told("dir/a"), [undefined, undefined, undefined]);
  });

  test("may promise no other encryption: exit 2, with the name that is right", () => {
    for (const suffix of ["enc", "gpg"]) {
      assert.throws(() => layersOfName(`a.jsonl.${suffix}`), {
        exitCode: 2,
        message: `the name "a.jsonl.${suffix}" promises another encryption than age, the only one of bundles`,
        hint: "Name it a.jsonl.age.",
      });
    }
  });
});
