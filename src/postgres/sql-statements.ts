import { AppError, ExitCode } from "../errors.ts";

export interface SqlToken {
  readonly kind: "word" | "quoted" | "string" | "other";
  /** As it stands there. */
  readonly text: string;
  /** Of a word in lower case, of a quoted identifier without its quotes; else as it stands there. */
  readonly value: string;
  /** In the statement's text, in UTF-16 units. */
  readonly start: number;
  readonly end: number;
}

export interface SqlStatement {
  /** Without comments before it, and without the semicolon. */
  readonly text: string;
  readonly tokens: readonly SqlToken[];
}

/** Space and comments, quoted identifiers, strings of each kind, words, numbers, and the rest. */
const pattern =
  /(?<space>\s+|--[^\n]*)|(?<quoted>"(?:[^"]+|"")*")|(?<string>[eE]'(?:[^'\\]+|\\[\s\S]|'')*'|'(?:[^']+|'')*'|\$(?<tag>(?:[A-Za-z_\u0080-\uffff][\w\u0080-\uffff]*)?)\$[\s\S]*?\$\k<tag>\$)|(?<word>[A-Za-z_\u0080-\uffff][\w$\u0080-\uffff]*)|(?<other>\d[\w.]*|[\s\S])/y;

/**
 * Splits what pg_dump and pg_dumpall write into statements. Lines for psql itself (`\connect`,
 * `\restrict`) are passed over. Strings are read as with standard_conforming_strings on.
 *
 * @throws {AppError} exit 3 when a quote or a comment has no end, or the last statement none
 */
export function splitStatements(sql: string): readonly SqlStatement[] {
  const statements: SqlStatement[] = [];
  let tokens: SqlToken[] = [];
  let begin = 0;
  let at = 0;
  while (at < sql.length) {
    pattern.lastIndex = at;
    const match = pattern.exec(sql);
    const groups = match?.groups ?? {};
    const text = match?.[0] ?? "";
    if (groups.space !== undefined) at += text.length;
    else if (sql.startsWith("/*", at)) at = endOfComment(sql, at);
    else if (text === "\\" && tokens.length === 0) at = endOfLine(sql, at);
    else if (/^['"$]$/.test(text) || isOpenEscape(sql, text, at)) throw unfinished("a quote");
    else {
      if (tokens.length === 0) begin = at;
      if (text === ";") {
        const last = tokens.at(-1);
        if (last !== undefined)
          statements.push({ text: sql.slice(begin, begin + last.end), tokens });
        tokens = [];
      } else tokens.push(tokenOf(groups, text, at - begin));
      at += text.length;
    }
  }
  if (tokens.length > 0) throw unfinished("a statement");
  return statements;
}

function tokenOf(
  groups: Readonly<Record<string, string | undefined>>,
  text: string,
  start: number,
): SqlToken {
  const place = { text, start, end: start + text.length };
  if (groups.word !== undefined) {
    // Only ASCII letters, as PostgreSQL does it in UTF-8.
    const value = text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
    return { kind: "word", value, ...place };
  }
  if (groups.quoted !== undefined) {
    return { kind: "quoted", value: text.slice(1, -1).replaceAll('""', '"'), ...place };
  }
  return { kind: groups.string === undefined ? "other" : "string", value: text, ...place };
}

/** An `E` for which the string behind it has no end: by itself it would be a word. */
function isOpenEscape(sql: string, text: string, at: number): boolean {
  return /^e$/i.test(text) && sql[at + 1] === "'";
}

/** Comments may stand in comments. */
function endOfComment(sql: string, start: number): number {
  let depth = 0;
  const mark = /\/\*|\*\//g;
  mark.lastIndex = start;
  for (let match = mark.exec(sql); match !== null; match = mark.exec(sql)) {
    depth += match[0] === "/*" ? 1 : -1;
    if (depth === 0) return mark.lastIndex;
  }
  throw unfinished("a comment");
}

function endOfLine(sql: string, start: number): number {
  const end = sql.indexOf("\n", start);
  return end < 0 ? sql.length : end;
}

function unfinished(what: string): AppError {
  return new AppError(
    "corrupt-sql",
    ExitCode.invalidInput,
    `the SQL of roles and settings is cut short: ${what} in it has no end`,
    { hint: "Take another copy of the backup; pgtenant verify tells whether a copy is whole." },
  );
}
