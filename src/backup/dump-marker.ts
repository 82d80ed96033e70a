import { AppError, ExitCode } from "../errors.ts";

/** pg_dump's last words; its newer versions write a `\unrestrict` line behind them. */
const endMarker = "-- PostgreSQL database dump complete";
const keptTail = 1024;

/**
 * Passes a plain dump through and checks that it has its end: SQL that is cut between two
 * statements is good SQL, and even psql takes it for a whole dump.
 *
 * @throws {AppError} exit 3 when the end is missing
 */
export async function* endsWithMarker(
  source: AsyncIterable<Uint8Array>,
  name = "the dump",
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
      ExitCode.invalidInput,
      `${name} is cut short: its end, "${endMarker}", is missing`,
      { hint: "Take another backup, or another copy of this one." },
    );
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
