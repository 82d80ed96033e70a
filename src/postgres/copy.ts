import type { Readable } from "node:stream";
import type { RawBuilder } from "kysely";
import { to as copyTo } from "pg-copy-streams";
import { type Session, statementText } from "./session.ts";
import { sqlStateOf } from "./sqlstates.ts";

/**
 * Neither character can stand raw in JSON text, so CSV with them as quote and delimiter
 * passes each JSON line through as it is.
 */
const bareLines = "(FORMAT csv, QUOTE E'\\x01', DELIMITER E'\\x02')";

export interface CopyOut {
  /** The lines' bytes, in chunks that do not respect line ends. */
  readonly stream: Readable;
  /** What the server's command tag said; valid when the stream has ended. */
  rowCount(): number;
}

/**
 * Streams the single JSON column of `query`, a line a row. To stop reading before the end costs
 * the session its connection: the server would wait for ever to send the rest.
 */
export function copyJsonLines(session: Session, query: RawBuilder<unknown>): CopyOut {
  const text = `COPY (${statementText(session, query)}) TO STDOUT ${bareLines}`;
  const stream = session.client.query(copyTo(text, { highWaterMark: 1 << 20 }));
  let endedByServer = false;
  stream.on("end", () => {
    endedByServer = true;
  });
  stream.on("error", (error) => {
    endedByServer ||= sqlStateOf(error) !== undefined;
  });
  stream.once("close", () => {
    if (!endedByServer) session.client.connection.stream.destroy();
  });
  return { stream, rowCount: () => stream.rowCount };
}
