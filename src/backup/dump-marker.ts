import { AppError, ExitCode } from "../errors.ts";

/** pg_dump's last words; its newer versions write a `\unrestrict` line behind them. */
const endMarker = "-- PostgreSQL database dump complete";
const keptTail = 1024;

/**
 * Passes a plain dump through and checks that it has its end: SQL that is cut between two
 * statements is good SQL, and even psql takes it for a whole dump.
 *
 * @param exitCode when the end is missing: 3 for a dump that was stored, 7 for one that is being made
 * @throws {AppError} with that exit code
 */
export async function* endsWithMarker(
  source: AsyncIterable<Uint8Array>,
  name = "the dump",
  exitCode: ExitCode = ExitCode.invalidInput,
): AsyncGenerator<Uint8Array> {
  let tail: Buffer = Buffer.alloc(0);
  for await (const chunk of source) {
    tail =
      chunk.length >= keptTail
        ? Buffer.from(chunk.subarray(-keptTail))
        : Buffer.concat([tail, chunk]).subarray(-keptTail);
    yield chunk;
  }
  if (!tail.toString("latin1").includes(endMarker)) {
    throw new AppError(
      "incomplete-dump",
      exitCode,
      `${name} is cut short: its end, "${endMarker}", is missing`,
      { hint: "Take another backup, or another copy of this one." },
    );
  }
}

/** How pg_dump --create and pg_dumpall go on to another database. */
const connectLine = Buffer.from("\n\\connect ");

/**
 * Passes a plain dump through that something else has made, unless it leaves the database that it is
 * loaded into: psql would follow it into the one that is not to be touched. No line of COPY's data can
 * begin like that.
 *
 * @throws {AppError} exit 4 where it does
 */
export async function* staysInDatabase(
  source: AsyncIterable<Uint8Array>,
  name: string,
): AsyncGenerator<Uint8Array> {
  let tail: Buffer = Buffer.alloc(0);
  for await (const chunk of source) {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
    const seam = Buffer.concat([tail, bytes.subarray(0, connectLine.length)]);
    if (bytes.includes(connectLine) || seam.includes(connectLine)) {
      throw new AppError(
        "dump-of-a-server",
        ExitCode.refused,
        `${name} goes to a database of its own choice (\\connect): it was made by pg_dumpall or pg_dump --create`,
        {
          hint: "Give it to psql on a server where nothing can be lost, then back up the database that is wanted.",
        },
      );
    }
    yield chunk;
    tail = Buffer.concat([tail, bytes.subarray(-connectLine.length)]).subarray(-connectLine.length);
  }
}

export interface DumpVersions {
  /** The server that was dumped, such as `15.18`. */
  readonly server: string | undefined;
  readonly pgDump: string | undefined;
}

/** What the first lines of a plain dump, or of `pg_restore --list`, say about its making. */
export function dumpVersions(head: string): DumpVersions {
  return {
    server: /Dumped from database version:? (\d+(?:\.\d+|\w+)*)/.exec(head)?.[1],
    pgDump: /Dumped by pg_dump version:? (\d+(?:\.\d+|\w+)*)/.exec(head)?.[1],
  };
}
