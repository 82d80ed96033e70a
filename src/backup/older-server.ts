/** What pg_dump and pg_restore set from this version on, and no older server knows. */
const since = 17;
const setting = "SET transaction_timeout = 0;";

/** A dump begins with settings and comments, of far fewer bytes. */
const longestHead = 64 * 1024;
const headLine = /^(--.*|\\.*|SET .*;|SELECT pg_catalog\.set_config\(.*;|BEGIN;|)$/;

/** Whether pg_restore of a version, connected to the server itself, would end at its settings. */
export function setsTooMuch(programMajor: number, serverMajor: number): boolean {
  return programMajor >= since && serverMajor < since;
}

/**
 * A script of pg_dump or pg_restore without the setting that this server does not know: the first
 * error ends a restore. Only the lines before the first object are looked at, no rows.
 */
export async function* forServer(
  script: AsyncIterable<Uint8Array>,
  serverMajor: number,
): AsyncGenerator<Uint8Array> {
  if (serverMajor >= since) {
    yield* script;
    return;
  }
  let head: Buffer | undefined = Buffer.alloc(0);
  for await (const chunk of script) {
    if (head === undefined) {
      yield chunk;
      continue;
    }
    head = Buffer.concat([head, chunk]);
    if (head.length < longestHead && !endsWithin(head)) continue;
    yield withoutSetting(head);
    head = undefined;
  }
  if (head !== undefined) yield withoutSetting(head);
}

/** Whether there is a whole line that is no setting. */
function endsWithin(head: Buffer): boolean {
  return linesOf(head).some((line) => !headLine.test(line));
}

function withoutSetting(head: Buffer): Buffer {
  let at = 0;
  for (const line of linesOf(head)) {
    if (!headLine.test(line)) break;
    if (line === setting) {
      return Buffer.concat([head.subarray(0, at), head.subarray(at + line.length + 1)]);
    }
    at += line.length + 1;
  }
  return head;
}

/** Whole lines, a letter a byte. */
function linesOf(head: Buffer): readonly string[] {
  return head.toString("latin1").split("\n").slice(0, -1);
}
