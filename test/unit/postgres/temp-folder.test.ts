import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdir, mkdtemp, readdir, rm, stat, utimes } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { after, before, mock, suite, test } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import { openTempFolder, sweepTempFolders } from "../../../src/postgres/temp-folder.ts";

suite("folders for temporary files", () => {
  let place: string;

  before(async () => {
    place = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
  });
  after(() => rm(place, { recursive: true }));

  const open = () => openTempFolder(place, process.env.PATH);

  async function make(name: string, minutesSilent = 0): Promise<string> {
    const path = join(place, name);
    await mkdir(path, { mode: 0o700 });
    const time = new Date(Date.now() - minutesSilent * 60_000);
    await utimes(path, time, time);
    return path;
  }

  test("are swept when their process is gone, and of others when they have been silent", async () => {
    const own = await open();
    const [, space = ""] = /^pgtenant-temp-([0-9a-f]{8})-/.exec(basename(own.path)) ?? [];
    const { pid: dead } = spawnSync("true");
    const end = "0123456789abcdef";
    const gone = [
      await make(`pgtenant-temp-${space}-${dead}-${end}`),
      // Of an earlier process with our number.
      await make(`pgtenant-temp-${space}-${process.pid}-1-${end}`),
      await make(`pgtenant-temp-00000000-${dead}-${end}`, 61),
      // In another container a process of our number and start may be another one.
      await make(basename(own.path).replace(space, "00000001"), 61),
    ];
    const kept = [
      own.path,
      await make(`pgtenant-temp-${space}-${process.pid}-${end}`, 61),
      await make(`pgtenant-temp-00000002-${dead}-${end}`, 59),
      await make("pgtenant-temp-notes", 61),
    ];
    // The system's own folder is swept besides.
    const swept = (await sweepTempFolders(place)).filter((path) => path.startsWith(place));
    assert.deepEqual(swept.toSorted(), gone.toSorted());
    assert.deepEqual((await readdir(place)).sort(), kept.map((path) => basename(path)).sort());
    await own.remove();
    for (const path of kept) await rm(path, { recursive: true, force: true });
  });

  test("say each minute that their process lives, until they are removed", async () => {
    mock.timers.enable({ apis: ["setInterval"] });
    try {
      const folder = await open();
      const long = new Date(0);
      await utimes(folder.path, long, long);
      mock.timers.tick(60_000);
      const deadline = performance.now() + 30_000;
      while ((await stat(folder.path)).mtimeMs === 0) {
        assert.ok(performance.now() < deadline, "it stays silent");
        await nextTurn();
      }
      await folder.remove();
      mock.timers.tick(120_000);
      assert.deepEqual(await readdir(place), []);
    } finally {
      mock.timers.reset();
    }
  });
});
