import assert from "node:assert/strict";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import tar from "tar-stream";
import { listTar, unpackFiles } from "../../../src/backup/unpack-files.ts";
import { AppError, ExitCode } from "../../../src/errors.ts";

type Header = Parameters<tar.Pack["entry"]>[0];
type Forged = Header & { readonly content?: string };

/** Archives that a forger would write, and what each is refused for. */
const forgeries: readonly (readonly [what: string, entries: readonly Forged[], message: RegExp])[] =
  [
    [
      "an absolute name",
      [{ name: "/etc/x", content: "x" }],
      /an absolute or empty name: "\/etc\/x"/,
    ],
    ["no name", [{ name: "", type: "directory" }], /an absolute or empty name/],
    ["a way up", [{ name: "../x", content: "x" }], /leads out of its folder/],
    ["a way up in the middle", [{ name: "a/../../x", content: "x" }], /leads out of its folder/],
    ["a way up at the end", [{ name: "a/..", type: "directory" }], /leads out of its folder/],
    ["a dot", [{ name: "./x", content: "x" }], /leads out of its folder or nowhere/],
    ["an empty part", [{ name: "a//x", content: "x" }], /leads out of its folder or nowhere/],
    ["a NUL", [{ name: "x", content: "x", pax: { path: "a\0b" } }], /a name that no file can have/],
    [
      "a name through a link of the archive",
      [
        { name: "a", type: "symlink", linkname: "/tmp" },
        { name: "a/x", content: "x" },
      ],
      /a name that goes through a symlink: "a\/x"/,
    ],
    [
      "a link that takes the place of a folder",
      [
        { name: "a/x", content: "x" },
        { name: "a", type: "symlink", linkname: "/tmp" },
      ],
      /a symlink where others need a folder: "a"/,
    ],
    [
      "a name deep below a link",
      [
        { name: "a/b", type: "symlink", linkname: ".." },
        { name: "a/b/c/d", type: "directory" },
      ],
      /goes through a symlink/,
    ],
    [
      "a name below a file",
      [
        { name: "a", content: "x" },
        { name: "a/b", content: "x" },
      ],
      /goes through a file/,
    ],
    [
      "one name twice",
      [
        { name: "a", content: "x" },
        { name: "a", content: "y" },
      ],
      /two entries of one name: "a"/,
    ],
    ["a hard link", [{ name: "a", type: "link", linkname: "/etc/passwd" }], /a hard link: "a"/],
    ["a device", [{ name: "a", type: "block-device", devmajor: 8 }], /a device: "a"/],
    ["a terminal", [{ name: "a", type: "character-device", devmajor: 8 }], /a device: "a"/],
    ["a pipe", [{ name: "a", type: "fifo" }], /a named pipe: "a"/],
    ["an unknown kind", [{ name: "a", type: "contiguous-file", content: "x" }], /an unknown kind/],
    [
      "a link to nothing",
      [{ name: "a", type: "symlink", linkname: "a\0", pax: { linkpath: "a\0b" } }],
      /a link without a target/,
    ],
    [
      "a name that is too long",
      [{ name: `${"a/".repeat(3000)}b`, content: "" }],
      /a name that is too long/,
    ],
    [
      "a size in the pax header",
      [{ name: "a", content: "x", pax: { size: "9999" } }],
      /a pax header "size"/,
    ],
    [
      "an owner that cannot be",
      [{ name: "a", content: "x", pax: { uid: "-1" } }],
      /an owner that cannot be/,
    ],
    [
      "a time that cannot be",
      [{ name: "a", content: "x", pax: { mtime: "1e300" } }],
      /a time that cannot be/,
    ],
    [
      "a time that is none",
      [{ name: "a", content: "x", pax: { mtime: "soon" } }],
      /a mtime that is no number/,
    ],
  ];

suite("a forged archive of files", () => {
  let home = "";
  before(async () => {
    home = await mkdtemp(join(tmpdir(), "pgtenant-forged-"));
    await writeFile(join(home, "witness"), "untouched");
  });
  after(() => rm(home, { recursive: true, force: true }));

  for (const [what, entries, message] of forgeries) {
    test(`with ${what} is refused, and nothing is left of it`, async () => {
      const archive = await forge(entries);
      await assert.rejects(listTar(once(archive)), isRefused(message));
      await assert.rejects(unpackFiles(once(archive), join(home, "x")), isRefused(message));
      assert.deepEqual(await readdir(home), ["witness"]);
    });
  }

  test("with a header that claims to be huge takes no memory for it", async () => {
    const archive = await forge([{ name: "a", content: "x", pax: { comment: "c" } }]);
    setSize(archive, 0, 2 ** 32);
    await assert.rejects(
      listTar(once(archive)),
      isRefused(/the header of an entry cannot be read/),
    );
  });

  test("with a file that claims more than there is, is cut short", async () => {
    const archive = await forge([{ name: "a", content: "x" }]);
    setSize(archive, 0, 2 ** 40);
    await assert.rejects(listTar(once(archive)), isRefused(/is cut short/));
    await assert.rejects(listTar(once(archive), { maxBytes: 1000 }), isRefused(/more than 1000/));
  });

  test("with a bit of a header flipped is refused, unless it still says the same", async () => {
    const archive = await forge([{ name: "a", content: "x" }]);
    const listing = await listTar(once(archive));
    let same = 0;
    for (let at = 0; at < 512; at++) {
      const flipped = Buffer.from(archive);
      flipped[at] = (flipped[at] ?? 0) ^ (1 << (at % 8));
      try {
        // A zero and a space say the same before a number.
        assert.deepEqual(await listTar(once(flipped)), listing, `byte ${at}`);
        same++;
      } catch (error) {
        isRefused(/./)(error);
      }
    }
    assert.ok(same < 10, `${same} of 512 flips were not seen`);
  });

  test("with a pax header that is no list of records is refused", async () => {
    for (const text of ["x", "5 a=b", "999 a=b\n", "0 a=b\n", "6 =bb\n", "6 abc\n", "-6 a=b\n"]) {
      const archive = await forge([{ name: "PaxHeader", content: text.padEnd(8, "z") }]);
      archive[156] = "x".charCodeAt(0);
      writeChecksum(archive, 0);
      await assert.rejects(listTar(once(archive)), isRefused(/pax header/), text);
    }
  });
});

function isRefused(message: RegExp) {
  return (error: unknown) => {
    assert.ok(error instanceof AppError, String(error));
    assert.match(error.message, message);
    assert.equal(error.exitCode, ExitCode.invalidInput);
    assert.match(error.hint ?? "", /^[A-Zp].*[.]$/);
    return true;
  };
}

async function forge(entries: readonly Forged[]): Promise<Buffer> {
  const pack = tar.pack();
  for (const { content, ...header } of entries) {
    const bytes = Buffer.from(content ?? "");
    const sink = pack.entry({ mode: 0o100600, ...header, size: bytes.length });
    sink.end(content === undefined ? null : bytes);
  }
  pack.finalize();
  return Buffer.concat(await Array.fromAsync(pack as AsyncIterable<Uint8Array>));
}

/** In base 256, as sizes are written that octal digits cannot say. */
function setSize(archive: Buffer, header: number, size: number): void {
  archive.fill(0, header + 124, header + 136);
  archive[header + 124] = 0x80;
  archive.writeBigUInt64BE(BigInt(size), header + 128);
  writeChecksum(archive, header);
}

function writeChecksum(archive: Buffer, header: number): void {
  archive.fill(0x20, header + 148, header + 156);
  const sum = archive.subarray(header, header + 512).reduce((a, b) => a + b, 0);
  archive.write(`${sum.toString(8).padStart(6, "0")}\0 `, header + 148, "latin1");
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
