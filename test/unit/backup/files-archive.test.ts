import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import {
  appendFile,
  chmod,
  chown,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rm,
  symlink,
  truncate,
  utimes,
  writeFile,
} from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { promisify } from "node:util";
import { packFiles } from "../../../src/backup/pack-files.ts";
import { refusePlaintextKeys } from "../../../src/backup/private-keys.ts";
import { scanIncluded } from "../../../src/backup/scan-files.ts";
import { listTar, refuseExistingFiles, unpackFiles } from "../../../src/backup/unpack-files.ts";
import { AppError, ExitCode } from "../../../src/errors.ts";

const run = promisify(execFile);
const asRoot = process.getuid?.() === 0;
let home = "";

suite("files beside a dump", () => {
  before(async () => {
    home = await mkdtemp(join(tmpdir(), "pgtenant-files-"));
  });
  after(() => rm(home, { recursive: true, force: true }));

  test("come back as they were: names, content, modes, times, owners, links, empty folders", async () => {
    const source = await makeTree(join(home, "tree"));
    const target = join(home, "back");
    const archive = await packed([source]);
    const result = await unpackFiles(chunks(archive, 1000), target);
    assert.deepEqual(await described(join(target, source)), await described(source));
    assert.equal(result.symlinks, 2);
    assert.deepEqual(result.notes.length, asRoot ? 0 : 1);
  });

  test("can be read by tar, long names, unicode, times and owners included", async () => {
    const source = await makeTree(join(home, "for-tar"));
    const file = join(home, "archive.tar");
    await writeFile(file, await packed([source]));
    const target = join(home, "by-tar");
    await mkdir(target);
    await run("tar", ["-xpf", file, "-C", target]);
    assert.deepEqual(await described(join(target, source)), await described(source));
  });

  test("an archive does not depend on how its bytes arrive", async () => {
    const source = await makeTree(join(home, "chunked"));
    const archive = await packed(["deep", "plain", "long-link"].map((name) => join(source, name)));
    const whole = await listTar(chunks(archive, archive.length));
    for (const size of [1, 7, 511, 512, 513]) {
      assert.deepEqual(await listTar(chunks(archive, size)), whole, `chunks of ${size}`);
    }
  });

  test("a path inside of another, or given twice, is kept once", async () => {
    const source = await makeTree(join(home, "twice"));
    const once = await scanIncluded([source]);
    const again = await scanIncluded([
      source,
      join(source, "empty"),
      `${source}/`,
      `${source}/../twice`,
    ]);
    assert.deepEqual(again.entries, once.entries);
  });

  test("a path that does not exist is refused", async () => {
    await assert.rejects(
      scanIncluded([join(home, "nowhere")]),
      failure(ExitCode.usage, "no-such-file", /^there is no file or folder ".*nowhere"$/),
    );
  });

  test("sockets and pipes are left out and named", async () => {
    const folder = join(home, "special");
    await mkdir(folder);
    await run("mkfifo", [join(folder, "pipe")]);
    const server = createServer().listen(join(folder, "socket"));
    try {
      await new Promise((resolve) => server.once("listening", resolve));
      const { entries, skipped } = await scanIncluded([folder]);
      assert.deepEqual(
        entries.map(({ path }) => path),
        [folder],
      );
      assert.deepEqual(skipped, [
        { path: join(folder, "pipe"), reason: "it is a named pipe" },
        { path: join(folder, "socket"), reason: "it is a socket" },
      ]);
    } finally {
      server.close();
    }
  });

  test("a link to something that is not included is named in a warning", async () => {
    const folder = join(home, "links");
    await mkdir(folder);
    await writeFile(join(folder, "a"), "a");
    await symlink("a", join(folder, "inside"));
    await symlink("/etc/hostname", join(folder, "outside"));
    const { warnings } = await scanIncluded([folder]);
    assert.equal(warnings.length, 1);
    assert.match(warnings[0] ?? "", /outside" is a link to "\/etc\/hostname", which is not among/);
  });

  test("a file that shrinks while it is read ends the archive with an error that names it", async () => {
    const path = join(home, "shrinking");
    await writeFile(path, Buffer.alloc(5_000_000, 1));
    const included = await scanIncluded([path]);
    await assert.rejects(
      async () => {
        let first = true;
        for await (const _chunk of packFiles(included)) {
          if (first) await truncate(path, 1_000_000);
          first = false;
        }
      },
      failure(ExitCode.storage, "changed-file", /^the file ".*shrinking" was changed while/),
    );
  });

  test("a file that grows while it is read is in the archive as long as it was, and is named", async () => {
    const path = join(home, "growing");
    await writeFile(path, Buffer.alloc(3_000_000, 1));
    const notes: string[] = [];
    const parts: Uint8Array[] = [];
    for await (const chunk of packFiles(await scanIncluded([path]), {
      onNote: (n) => notes.push(n),
    })) {
      if (parts.length === 1) await appendFile(path, Buffer.alloc(2_000_000, 2));
      parts.push(chunk);
    }
    const { bytes } = await listTar(chunks(Buffer.concat(parts), 65536));
    assert.equal(bytes, 3_000_000);
    assert.match(notes.join("\n"), /^the file ".*growing" was changed .* its first 3000000 bytes$/);
  });

  test("a file that has become a link or has vanished since the scan is not followed", async () => {
    for (const change of ["link", "gone"]) {
      const path = join(home, `becomes-${change}`);
      await writeFile(path, "x");
      const included = await scanIncluded([path]);
      await rm(path);
      if (change === "link") await symlink("/etc/passwd", path);
      await assert.rejects(
        collect(packFiles(included)),
        failure(ExitCode.storage, "changed-file", /becomes-/),
      );
    }
  });

  test("an archive that nobody reads to its end leaves no file open", async () => {
    const path = join(home, "long");
    await writeFile(path, Buffer.alloc(5_000_000, 1));
    const before = (await readdir("/proc/self/fd").catch(() => [])).length;
    for await (const _chunk of packFiles(await scanIncluded([path]))) break;
    assert.equal((await readdir("/proc/self/fd").catch(() => [])).length, before);
  });
});

suite("private keys beside a dump", () => {
  const keys: readonly (readonly [name: string, content: string | Buffer, isKey: boolean])[] = [
    ["rsa.pem", "x\n-----BEGIN RSA PRIVATE KEY-----\nMIIE\n", true],
    ["pkcs8.pem", "-----BEGIN PRIVATE KEY-----\nMIIE\n", true],
    ["ec", "-----BEGIN EC PRIVATE KEY-----\nMHcC\n", true],
    ["ssh", "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n", true],
    ["pgp.asc", "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nlQ\n", true],
    ["age.txt", "# public key: age1x\nAGE-SECRET-KEY-1QQQ\n", true],
    ["store.P12", Buffer.from([0x30, 0x82]), true],
    ["empty.jks", "", true],
    ["raw.key", Buffer.from([0x30, 0x82, 0x04, 0xa4, 0x02, 0x01, 0x00, 0x02]), true],
    ["late.pem", `${"#".repeat(900_000)}\n-----BEGIN PRIVATE KEY-----\n`, true],
    ["encrypted.pem", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIE\n", false],
    ["old.pem", "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: x\n", false],
    ["public.pem", "-----BEGIN PUBLIC KEY-----\n-----BEGIN CERTIFICATE-----\n", false],
    ["age.pub", "age1qqqq\n", false],
    ["cert.der", Buffer.from([0x30, 0x82, 0x04, 0xa4, 0x30, 0x82, 0x03]), false],
  ];

  test("are found by what is in a file, or by the name of a key store", async () => {
    const folder = await mkdtemp(join(tmpdir(), "pgtenant-keys-"));
    try {
      for (const [name, content] of keys) await writeFile(join(folder, name), content);
      const { privateKeys } = await scanIncluded([folder]);
      const expected = keys.filter(([, , isKey]) => isKey).map(([name]) => join(folder, name));
      assert.deepEqual(privateKeys, expected.sort());
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test("are refused unencrypted, by name, unless that is allowed", () => {
    const included = { privateKeys: ["/etc/pki/ca.key", "/etc/pki/b.pem"] };
    assert.throws(
      () => refusePlaintextKeys(included, false, false),
      (error) => {
        failure(
          ExitCode.refused,
          "plaintext-keys",
          /^2 of the included files hold private keys/,
        )(error);
        assert.deepEqual((error as AppError).details, ['"/etc/pki/ca.key"', '"/etc/pki/b.pem"']);
        assert.match((error as AppError).hint ?? "", /--encrypt.*--allow-plaintext-keys/);
        return true;
      },
    );
    refusePlaintextKeys(included, true, false);
    refusePlaintextKeys(included, false, true);
    refusePlaintextKeys({ privateKeys: [] }, false, false);
  });
});

suite("restoring files", () => {
  let archive: Buffer = Buffer.alloc(0);
  let source = "";
  before(async () => {
    home = await mkdtemp(join(tmpdir(), "pgtenant-files-"));
    source = await makeTree(join(home, "tree"));
    archive = await packed([source]);
  });
  after(() => rm(home, { recursive: true, force: true }));

  test("never happens over an existing file: all are named and nothing is written", async () => {
    const target = join(home, "occupied");
    const inTheWay = [join(target, source, "link"), join(target, source, "plain")];
    await mkdir(join(target, source), { recursive: true });
    for (const path of inTheWay) await writeFile(path, "mine");
    const listing = await listTar(chunks(archive, 4096));
    await assert.rejects(refuseExistingFiles(listing, target), (error) => {
      failure(ExitCode.refused, "file-exists", /^2 of the files exist already/)(error);
      assert.deepEqual((error as AppError).data.files, inTheWay);
      return true;
    });
    // Without the first pass, too, nothing is overwritten, and what was made is removed again.
    await assert.rejects(
      unpackFiles(chunks(archive, 4096), target),
      failure(ExitCode.refused, "file-exists", /exists already/),
    );
    for (const path of inTheWay) assert.equal(await readFile(path, "utf8"), "mine");
    assert.deepEqual((await readdir(join(target, source))).sort(), ["link", "plain"]);
  });

  test("does not go through a link that lies in the folder already", async () => {
    const target = join(home, "with-link");
    const elsewhere = join(home, "elsewhere");
    await mkdir(target);
    await mkdir(elsewhere);
    await symlink(elsewhere, join(target, source.split("/")[1] ?? ""));
    const listing = await listTar(chunks(archive, 4096));
    await assert.rejects(
      refuseExistingFiles(listing, target),
      failure(ExitCode.refused, "file-exists", /exist/),
    );
    await assert.rejects(
      unpackFiles(chunks(archive, 4096), target),
      failure(ExitCode.refused, "file-exists", /exists already/),
    );
    assert.deepEqual(await readdir(elsewhere), []);
  });

  test("merges into folders that exist, and leaves their modes alone", async () => {
    const target = join(home, "merged");
    await mkdir(join(target, source), { recursive: true });
    await chmod(join(target, source), 0o711);
    await writeFile(join(target, source, "other"), "other");
    await refuseExistingFiles(await listTar(chunks(archive, 4096)), target);
    await unpackFiles(chunks(archive, 4096), target);
    assert.equal((await lstat(join(target, source))).mode & 0o7777, 0o711);
    assert.equal(await readFile(join(target, source, "plain"), "utf8"), "plain content");
    assert.equal(await readFile(join(target, source, "other"), "utf8"), "other");
  });

  test("refuses an archive that is cut anywhere, and leaves no file behind", async () => {
    const cuts = [
      0,
      1,
      511,
      512,
      1024,
      archive.length >> 1,
      archive.length - 1024,
      archive.length - 512,
      archive.length - 1,
    ];
    for (const cut of cuts) {
      const target = join(home, "cut", String(cut));
      await assert.rejects(
        unpackFiles(chunks(archive.subarray(0, cut), 777), target),
        failure(ExitCode.invalidInput, "corrupt-archive", /is cut short/),
        `cut at ${cut}`,
      );
      await assert.rejects(lstat(join(home, "cut")), { code: "ENOENT" });
    }
  });

  test("refuses an archive that goes on after its end", async () => {
    for (const tail of [Buffer.from("x"), archive]) {
      await assert.rejects(
        listTar(chunks(Buffer.concat([archive, tail]), 10_000)),
        failure(ExitCode.invalidInput, "corrupt-archive", /goes on after its end/),
      );
    }
  });

  test("refuses more bytes than were told", async () => {
    const { bytes } = await listTar(chunks(archive, 4096));
    await listTar(chunks(archive, 4096), { maxBytes: bytes });
    await assert.rejects(
      listTar(chunks(archive, 4096), { maxBytes: bytes - 1 }),
      failure(ExitCode.invalidInput, "corrupt-archive", /holds more than/),
    );
  });

  test("stops when it is told to, and removes what it has made", async () => {
    const target = join(home, "stopped");
    const stop = new AbortController();
    async function* slowly() {
      let n = 0;
      for await (const chunk of chunks(archive, 512)) {
        if (++n === 12) stop.abort();
        yield chunk;
      }
    }
    await assert.rejects(unpackFiles(slowly(), target, { signal: stop.signal }), {
      name: "AbortError",
    });
    await assert.rejects(lstat(target), { code: "ENOENT" });
  });
});

function failure(exitCode: ExitCode, code: string, message: RegExp) {
  return (error: unknown) => {
    assert.ok(error instanceof AppError, String(error));
    assert.match(error.message, message);
    assert.equal(error.code, code);
    assert.equal(error.exitCode, exitCode);
    assert.match(error.hint ?? "", /^[A-Z].*[.]$/s);
    return true;
  };
}

async function makeTree(root: string): Promise<string> {
  await mkdir(join(root, "deep", "er"), { recursive: true });
  await mkdir(join(root, "empty"));
  await writeFile(join(root, "plain"), "plain content");
  await writeFile(join(root, "nothing"), "");
  await writeFile(join(root, "big"), Buffer.alloc(700_001, "pattern"));
  await writeFile(join(root, "zeros"), Buffer.alloc(2048));
  await writeFile(join(root, "größe 鍵 🔑\nline"), "unicode");
  await writeFile(join(root, "deep", "er", "n".repeat(200)), "long");
  await symlink("plain", join(root, "link"));
  await symlink(`/nowhere/${"x".repeat(150)}`, join(root, "long-link"));
  await chmod(join(root, "plain"), 0o640);
  await chmod(join(root, "empty"), 0o1775);
  if (asRoot) {
    await chmod(join(root, "nothing"), 0o000);
    await chown(join(root, "plain"), 1234, 3_000_000_000);
    await chmod(join(root, "big"), 0o4711);
  }
  await utimes(join(root, "plain"), 981173106.789, 981173106.789);
  await utimes(join(root, "zeros"), 5_000_000_000, 5_000_000_000);
  await utimes(join(root, "deep"), 1, 1);
  return root;
}

/** Everything that must come back, by the path below the root. */
async function described(root: string): Promise<Record<string, unknown>> {
  const found: Record<string, unknown> = {};
  for (const name of ["", ...(await readdir(root, { recursive: true })).sort()]) {
    const path = join(root, name);
    const { mode, uid, gid, mtimeMs } = await lstat(path);
    const link = (mode & 0o170000) === 0o120000;
    const folder = (mode & 0o170000) === 0o040000;
    found[name] = {
      mode: mode.toString(8),
      uid,
      gid,
      mtime: Math.round(mtimeMs),
      content: link ? await readlink(path) : folder ? "" : (await readFile(path)).toString("hex"),
    };
  }
  return found;
}

async function packed(paths: readonly string[]): Promise<Buffer> {
  return await collect(packFiles(await scanIncluded(paths)));
}

async function collect(bytes: AsyncIterable<Uint8Array>): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(bytes));
}

async function* chunks(bytes: Buffer, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}
