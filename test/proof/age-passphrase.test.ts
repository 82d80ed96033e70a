import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import {
  agePassphrase,
  encoded,
  noise,
  opened,
  passphrase,
  without,
} from "../harness/layer-samples.ts";

suite("the age program", { skip: without("age") || without("script") }, () => {
  let folder: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
  });
  after(() => rm(folder, { recursive: true }));

  /** It asks for a passphrase on a terminal only, which `script` is one for. */
  function typed(passphrases: readonly string[], command: string): void {
    execFileSync("script", ["-qec", command, "/dev/null"], {
      input: passphrases.map((line) => `${line}\n`).join(""),
      cwd: folder,
      stdio: ["pipe", "ignore", "ignore"],
      timeout: 60_000,
    });
  }

  test("opens what we write with a passphrase, and we what it writes", async () => {
    const content = noise(100_000);
    await writeFile(join(folder, "ours.age"), await encoded(content, "none", agePassphrase));
    typed([passphrase], "age -d -o ours ours.age");
    assert.ok((await readFile(join(folder, "ours"))).equals(content));
    typed([passphrase, passphrase], "age -p -o theirs.age ours");
    const theirs = await readFile(join(folder, "theirs.age"));
    assert.ok((await opened(theirs)).content.equals(content));
  });
});
