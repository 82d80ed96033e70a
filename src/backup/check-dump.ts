import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { DecryptionKeys } from "../bundle/encryption.ts";
import { AppError, ExitCode } from "../errors.ts";
import { startProgram } from "../postgres/child-program.ts";
import type { ClientPrograms } from "../postgres/client-programs.ts";
import { feedProgram } from "../postgres/feed-program.ts";
import { openTempFolder } from "../postgres/temp-folder.ts";
import type { DumpFormat } from "./backup-name.ts";
import { counted } from "./counted.ts";
import { unpackFolder } from "./dump-folder.ts";
import { dumpVersions, endsWithMarker, staysInDatabase } from "./dump-marker.ts";
import type { OpenBackup } from "./open-backup.ts";
import { type PartSource, readPart } from "./read-part.ts";
import { sniffDump } from "./sniff-dump.ts";

export interface CheckOptions {
  readonly keys: DecryptionKeys;
  /** Undefined where none are installed: archives are then not read by pg_restore. */
  readonly programs: ClientPrograms | undefined;
  readonly environment: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
  readonly onBytes: (bytes: number) => void;
}

/** A dump that was read to its end and is whole. */
export interface CheckedDump {
  readonly part: PartSource;
  readonly format: DumpFormat;
  /** The version of the server that was dumped, where it is known. */
  readonly server: string | undefined;
  /** Before compression. */
  readonly rawBytes: number;
  /** Entries in an archive's table of contents; undefined for plain SQL. */
  readonly entries: number | undefined;
  /** What could not be looked at, for want of programs. */
  readonly notes: readonly string[];
}

/**
 * Reads the dump of a backup to its end: its stored bytes are those of the manifest, every layer
 * comes off, and what is inside has its own end. An archive is read by pg_restore as a whole.
 *
 * @throws {AppError} exit 3 when it is not whole or is no dump, 6 when no key fits
 */
export async function checkDump(backup: OpenBackup, options: CheckOptions): Promise<CheckedDump> {
  const part = backup.part("database");
  if (part === undefined) throw noDump(backup.name, "it has no dump of a database");
  let rawBytes = 0;
  const all = counted(readPart(part, options.keys, options.signal), (more) => {
    rawBytes += more;
    options.onBytes(more);
  });
  const dump = await sniffDump(all);
  const server = backup.manifest?.source.server ?? dump.versions.server;
  // Ours stay where they are, by how they were made.
  const bytes =
    backup.manifest === undefined && dump.format === "plain"
      ? staysInDatabase(dump.bytes, part.name)
      : dump.bytes;
  const found = await inspect(dump.format, bytes, part.name, options);
  return {
    part,
    format: dump.format ?? "plain",
    server: server ?? found.server,
    rawBytes,
    entries: found.entries,
    notes: found.notes,
  };
}

interface Inspection {
  readonly entries: number | undefined;
  readonly server: string | undefined;
  readonly notes: readonly string[];
}

async function inspect(
  format: DumpFormat | undefined,
  bytes: AsyncGenerator<Uint8Array>,
  name: string,
  options: CheckOptions,
): Promise<Inspection> {
  switch (format) {
    case "plain":
      await drain(endsWithMarker(bytes, name));
      return { entries: undefined, server: undefined, notes: [] };
    case "custom":
      return await inspectArchive(bytes, name, options);
    case "directory":
      return await inspectFolder(bytes, name, options);
    case undefined:
      // What is wrong with the bytes says more than that nothing is known about them.
      await drain(bytes);
      throw noDump(name, "it does not begin like one");
  }
}

/** pg_restore turns the whole archive into SQL that nobody reads. */
async function inspectArchive(
  bytes: AsyncGenerator<Uint8Array>,
  name: string,
  options: CheckOptions,
): Promise<Inspection> {
  const { programs } = options;
  if (programs === undefined) {
    await drain(bytes);
    return { entries: undefined, server: undefined, notes: [notRead] };
  }
  const child = startProgram(join(programs.binDir, "pg_restore"), ["--file=-"], {
    env: options.environment,
    stdin: "pipe",
    signal: options.signal,
  });
  let head = "";
  const reading = (async () => {
    for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
      if (head.length < 4096) head += chunk.toString("latin1");
    }
  })();
  reading.catch(() => undefined); // it is awaited below
  try {
    await feedProgram(child, bytes, { onEarlyEnd: "read-on" });
    await reading;
    await child.done;
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== "program-failed") throw error;
    throw unreadable(name, error);
  } finally {
    await child.stop();
  }
  return { entries: undefined, server: dumpVersions(head).server, notes: [] };
}

/** The table of contents is read by pg_restore; the files it speaks of must be there. */
async function inspectFolder(
  bytes: AsyncGenerator<Uint8Array>,
  name: string,
  options: CheckOptions,
): Promise<Inspection> {
  const temp = await openTempFolder(undefined, options.environment.PATH);
  try {
    const folder = join(temp.path, "dump");
    await mkdir(folder, { mode: 0o700 });
    const isContents = (file: { readonly name: string }) => file.name === "toc.dat";
    const files = await unpackFolder(bytes, folder, name, isContents);
    const { programs } = options;
    if (programs === undefined) return { entries: undefined, server: undefined, notes: [notRead] };
    const list = join(temp.path, "list");
    const args = ["--list", "--format=directory", `--file=${list}`, folder];
    const child = startProgram(join(programs.binDir, "pg_restore"), args, {
      env: options.environment,
      stdin: "ignore",
      signal: options.signal,
    });
    child.stdout.resume();
    await child.done.catch((error: unknown) => {
      throw error instanceof AppError && error.code === "program-failed"
        ? unreadable(name, error)
        : error;
    });
    const text = await readFile(list, "utf8");
    const present = new Set(files.map((file) => file.name));
    const missing = [...text.matchAll(/^(\d+); \d+ \d+ TABLE DATA (.*)$/gm)].filter(
      ([, dumpId]) => !present.has(`${dumpId}.dat`),
    );
    if (missing.length > 0) {
      throw new AppError(
        "incomplete-dump",
        ExitCode.invalidInput,
        `${name} lacks the rows of ${missing.length} tables`,
        {
          hint: "Take another backup, or another copy of this one.",
          details: missing.map(([, , table = ""]) => table),
        },
      );
    }
    const entries = text.split("\n").filter((line) => /^\d+;/.test(line)).length;
    return { entries, server: dumpVersions(text).server, notes: [] };
  } finally {
    await temp.remove();
  }
}

const notRead =
  "PostgreSQL's client programs are not installed: the archive was decoded, but pg_restore did not read it";

async function drain(bytes: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const _ of bytes);
}

function unreadable(name: string, cause: AppError): AppError {
  return new AppError(
    "corrupt-dump",
    ExitCode.invalidInput,
    `${name} cannot be read by pg_restore: ${cause.message}`,
    { hint: "Take another backup, or another copy of this one.", details: cause.details, cause },
  );
}

export function noDump(name: string, why: string): AppError {
  return new AppError(
    "not-a-dump",
    ExitCode.invalidInput,
    `${name} is no dump of a database: ${why}`,
    {
      hint: "Dumps are made by pgtenant backup or pg_dump; a tenant's bundle goes to pgtenant import.",
    },
  );
}
