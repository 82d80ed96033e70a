import { constants, type Stats } from "node:fs";
import {
  type FileHandle,
  lchown,
  lstat,
  lutimes,
  mkdir,
  open,
  realpath,
  rm,
  rmdir,
  symlink,
} from "node:fs/promises";
import { dirname, join } from "node:path";
import { AppError, ExitCode } from "../errors.ts";
import { codeOf, type StorageAdvice, storageError } from "../storage/local-file.ts";
import { ArchiveNames } from "./archive-names.ts";
import { corruptArchive, readTar, type TarEntry } from "./tar-reader.ts";

export type ListedEntry = Omit<TarEntry, "content">;

export interface TarListing {
  readonly entries: readonly ListedEntry[];
  readonly files: number;
  /** Of all files together. */
  readonly bytes: number;
}

export interface ArchiveOptions {
  readonly signal?: AbortSignal | undefined;
  /** How messages call the archive. */
  readonly name?: string | undefined;
  /** Of the files together; an archive that holds more is refused. */
  readonly maxBytes?: number | undefined;
}

export interface UnpackedFiles {
  /** The folder, without links in its path. */
  readonly folder: string;
  readonly files: number;
  readonly folders: number;
  readonly symlinks: number;
  readonly bytes: number;
  /** What is not as it was, such as owners, which only root can give. */
  readonly notes: readonly string[];
}

const anArchive = "the archive of files";
const { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_RDONLY, O_WRONLY } = constants;
const setIdBits = 0o6000;

const advice: StorageAdvice = {
  taken: (path) => existing([path]),
  elsewhere: "to another folder with --files-to",
  choose: "another folder with --files-to",
};

/**
 * Reads an archive to its end and tells what is in it; nothing is written.
 *
 * @throws {AppError} exit 3 when it is corrupt or holds an entry that unpackFiles would refuse
 */
export async function listTar(
  bytes: AsyncIterable<Uint8Array>,
  options: ArchiveOptions = {},
): Promise<TarListing> {
  const entries: ListedEntry[] = [];
  let sum = 0;
  for await (const { content, ...entry } of checkedEntries(bytes, options)) {
    for await (const chunk of content) sum += chunk.length;
    entries.push(entry);
  }
  return { entries, files: entries.filter(({ kind }) => kind === "file").length, bytes: sum };
}

/**
 * Refuses to put an archive where something of the same name is. Folders that exist are no
 * obstacle, unless they are links.
 *
 * @throws {AppError} exit 4, code `file-exists`, that names everything in the way
 */
export async function refuseExistingFiles(
  listing: Pick<TarListing, "entries">,
  folder: string,
): Promise<void> {
  const inTheWay = new Set<string>();
  const wanted = new Map<string, ListedEntry["kind"]>([["", "folder"]]);
  for (const { name, kind } of listing.entries) {
    const parts = name.split("/");
    for (let depth = 1; depth < parts.length; depth++) {
      wanted.set(parts.slice(0, depth).join("/"), "folder");
    }
    wanted.set(name, kind);
  }
  for (const [name, kind] of wanted) {
    const path = join(folder, name);
    // The folder itself may be a link: that is the operator's own choice.
    const found = await statOrNothing(name === "" ? await realFolder(folder) : path);
    if (found !== undefined && !(kind === "folder" && found.isDirectory())) inTheWay.add(path);
  }
  if (inTheWay.size > 0) throw existing([...inTheWay]);
}

/**
 * Puts the files of an archive below a folder, with their modes and times, and with their owners
 * when we are root. All of them or, when anything goes wrong, none: what was made is removed.
 * Nothing that exists is altered, nothing outside of the folder is touched.
 *
 * Call listTar and refuseExistingFiles first: then a corrupt archive, or a file in the way, is
 * found before the first one is written.
 *
 * @throws {AppError} exit 3 for what is corrupt or hostile, 4 for a file that is in the way, 8
 *   when it cannot be written
 */
export async function unpackFiles(
  bytes: AsyncIterable<Uint8Array>,
  folder: string,
  options: ArchiveOptions = {},
): Promise<UnpackedFiles> {
  const made: MadeThing[] = [];
  try {
    const root = await makeRoot(folder, made);
    return await unpackInto(root, bytes, options, made);
  } catch (error) {
    for (const { path, kind } of made.reverse()) {
      await (kind === "folder" ? rmdir(path) : rm(path)).catch(() => undefined);
    }
    throw error;
  }
}

interface MadeThing {
  readonly path: string;
  readonly kind: TarEntry["kind"];
}

async function unpackInto(
  root: string,
  bytes: AsyncIterable<Uint8Array>,
  options: ArchiveOptions,
  made: MadeThing[],
): Promise<UnpackedFiles> {
  const asRoot = process.getuid?.() === 0;
  const counted = { files: 0, folders: 0, symlinks: 0, bytes: 0 };
  const folders: ListedEntry[] = [];
  const links: ListedEntry[] = [];
  const known = new Map<string, boolean>();
  const touched = new Set<string>([root]);
  for await (const { content, ...entry } of checkedEntries(bytes, options)) {
    const path = join(root, entry.name);
    if (entry.kind === "folder") {
      if (await makeFolders(root, entry.name, known, made)) folders.push(entry);
    } else {
      const parent = entry.name.split("/").slice(0, -1).join("/");
      await makeFolders(root, parent, known, made);
      touched.add(join(root, parent));
      if (entry.kind === "symlink") links.push(entry);
      else {
        counted.bytes += await writeFile(path, entry, content, asRoot, made);
        counted.files++;
      }
    }
  }
  // Only now, so that no name of the archive can lead through one.
  for (const entry of links) await makeLink(join(root, entry.name), entry, asRoot, made);
  // The deepest first: what is made in a folder changes its time, and its mode may forbid it.
  for (const entry of folders.reverse()) {
    await withFile(join(root, entry.name), O_RDONLY | O_DIRECTORY | O_NOFOLLOW, async (handle) => {
      await giveAttributes(handle, entry, asRoot);
      await handle.sync().catch(() => undefined); // not every file system can
    });
  }
  for (const path of touched) await syncFolder(path);
  counted.folders = folders.length;
  counted.symlinks = links.length;
  const notes =
    asRoot || counted.files + counted.folders === 0
      ? []
      : ["the owners of the files were not restored: only root can give files to others"];
  return { folder: root, ...counted, notes };
}

async function* checkedEntries(
  bytes: AsyncIterable<Uint8Array>,
  { signal, name = anArchive, maxBytes = Number.POSITIVE_INFINITY }: ArchiveOptions,
): AsyncGenerator<TarEntry> {
  const names = new ArchiveNames(name);
  let sum = 0;
  for await (const entry of readTar(bytes, name)) {
    signal?.throwIfAborted();
    names.add(entry);
    sum += entry.bytes;
    if (sum > maxBytes) throw corruptArchive(name, `it holds more than ${maxBytes} bytes`);
    yield entry;
  }
}

async function makeRoot(folder: string, made: MadeThing[]): Promise<string> {
  try {
    const first = await mkdir(folder, { recursive: true, mode: 0o700 });
    const root = await realpath(folder);
    if (first === undefined) return root;
    const top = await realpath(first);
    const chain = [root];
    for (let path = root; path !== top && path !== dirname(path); ) {
      path = dirname(path);
      chain.unshift(path);
    }
    made.push(...chain.map((path) => ({ path, kind: "folder" as const })));
    return root;
  } catch (error) {
    throw storageError(error, folder, advice);
  }
}

/**
 * Makes a folder and those above it, 0700 for now; each is looked at, so that none is a link.
 *
 * @param known folders below the root that were looked at already, and whether they are new
 * @returns whether the last one is new: one that existed keeps its mode and time
 */
async function makeFolders(
  root: string,
  name: string,
  known: Map<string, boolean>,
  made: MadeThing[],
): Promise<boolean> {
  const parts = name === "" ? [] : name.split("/");
  for (let depth = 1; depth <= parts.length; depth++) {
    const part = parts.slice(0, depth).join("/");
    if (known.has(part)) continue;
    const path = join(root, part);
    try {
      await mkdir(path, { mode: 0o700 });
      made.push({ path, kind: "folder" });
      known.set(part, true);
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw storageError(error, path, advice);
      if (!(await lstat(path)).isDirectory()) throw existing([path]);
      known.set(part, false);
    }
  }
  return known.get(name) ?? false;
}

async function writeFile(
  path: string,
  entry: ListedEntry,
  content: AsyncIterable<Uint8Array>,
  asRoot: boolean,
  made: MadeThing[],
): Promise<number> {
  let written = 0;
  await withFile(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, async (handle) => {
    made.push({ path, kind: "file" });
    for await (const chunk of content) {
      for (let at = 0; at < chunk.length; ) {
        const { bytesWritten } = await storing(path, handle.write(chunk, at));
        at += bytesWritten;
      }
      written += chunk.length;
    }
    await storing(path, giveAttributes(handle, entry, asRoot));
    await storing(path, handle.sync());
  });
  return written;
}

async function makeLink(
  path: string,
  entry: ListedEntry,
  asRoot: boolean,
  made: MadeThing[],
): Promise<void> {
  try {
    await symlink(entry.target ?? "", path);
    made.push({ path, kind: "symlink" });
    if (asRoot) await lchown(path, entry.uid, entry.gid);
    await lutimes(path, entry.mtime, entry.mtime);
  } catch (error) {
    throw codeOf(error) === "EEXIST" ? existing([path]) : storageError(error, path, advice);
  }
}

/** The owner first, since giving a file away takes the set-id bits off; the time last. */
async function giveAttributes(
  handle: FileHandle,
  entry: ListedEntry,
  asRoot: boolean,
): Promise<void> {
  if (asRoot) await handle.chown(entry.uid, entry.gid);
  // Under another owner they would mean something else.
  await handle.chmod(asRoot ? entry.mode : entry.mode & ~setIdBits);
  await handle.utimes(entry.mtime, entry.mtime);
}

async function withFile(
  path: string,
  flags: number,
  use: (handle: FileHandle) => Promise<void>,
): Promise<void> {
  let handle: FileHandle;
  try {
    handle = await open(path, flags, 0o600);
  } catch (error) {
    const code = codeOf(error);
    throw code === "EEXIST" || code === "ELOOP"
      ? existing([path])
      : storageError(error, path, advice);
  }
  try {
    await use(handle);
  } finally {
    await handle.close();
  }
}

async function storing<T>(path: string, doing: Promise<T>): Promise<T> {
  try {
    return await doing;
  } catch (error) {
    throw storageError(error, path, advice);
  }
}

async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, O_RDONLY).catch(() => undefined);
  await handle?.sync().catch(() => undefined); // not every file system can
  await handle?.close();
}

async function statOrNothing(path: string): Promise<Stats | undefined> {
  try {
    return await lstat(path);
  } catch (error) {
    const code = codeOf(error);
    // ENOTDIR: what stands in the way is a file above it, which has been found by then.
    if (code === "ENOENT" || code === "ENOTDIR") return undefined;
    throw storageError(error, path, advice);
  }
}

async function realFolder(folder: string): Promise<string> {
  return await realpath(folder).catch(() => folder);
}

function existing(paths: readonly string[]): AppError {
  const [first = ""] = paths;
  return new AppError(
    "file-exists",
    ExitCode.refused,
    paths.length === 1
      ? `"${first}" exists already, and files are never restored over others`
      : `${paths.length} of the files exist already, and files are never restored over others`,
    {
      hint: "Give an empty folder with --files-to, and move what is needed from there.",
      details: paths.map((path) => `"${path}"`),
      data: { files: paths },
    },
  );
}
