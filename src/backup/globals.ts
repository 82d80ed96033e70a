import { type SqlStatement, type SqlToken, splitStatements } from "../postgres/sql-statements.ts";

/** What the server holds beside the database: its roles, and what it says about the database. */
export interface Globals {
  /** The name of the database that was backed up; undefined where nothing tells it. */
  readonly database: string | undefined;
  readonly roles: readonly GlobalRole[];
  readonly memberships: readonly Membership[];
  /** In the order in which they have to run. */
  readonly databaseStatements: readonly DatabaseStatement[];
  /** Tablespaces are places on the old server's disks: they are never made, only named. */
  readonly tablespaces: readonly string[];
  /** The first words of statements of no kind that is known here. */
  readonly unknown: readonly string[];
}

export interface GlobalRole {
  readonly name: string;
  /** `ALTER ROLE … WITH …` comes first; all of them are for this role alone. */
  readonly statements: readonly RoleStatement[];
}

export interface RoleStatement extends SqlStatement {
  readonly kind: "attributes" | "setting" | "comment" | "label" | "parameter-grant";
  /** What it is about, for messages; never a value. */
  readonly subject: string;
}

export interface Membership extends SqlStatement {
  readonly role: string;
  readonly member: string;
  /** Where `GRANTED BY` begins in the text, if it is there. */
  readonly grantorAt: number | undefined;
}

export interface DatabaseStatement extends SqlStatement {
  readonly kind:
    | "owner"
    | "setting"
    | "limit"
    | "template"
    | "comment"
    | "label"
    | "privilege"
    | "other";
  /** For messages; never a value. */
  readonly subject: string;
  readonly database: string;
  /** Where the database's name stands in the text. */
  readonly nameAt: readonly [start: number, end: number];
  /** A role that it cannot do without. */
  readonly role: string | undefined;
  /** The role that has granted it, where that is not the owner. */
  readonly grantor: string | undefined;
}

/** The globals of a backup: small enough to be held as a whole. */
export async function readGlobals(bytes: AsyncIterable<Uint8Array>): Promise<Globals> {
  return parseGlobals(Buffer.concat(await Array.fromAsync(bytes)).toString("utf8"));
}

/**
 * Reads the text that dumpGlobals writes, whole outputs of pg_dumpall and pg_dump too.
 *
 * @throws {AppError} exit 3 when it is cut short
 */
export function parseGlobals(text: string): Globals {
  const roles = new Map<string, RoleStatement[]>();
  const memberships: Membership[] = [];
  const databaseStatements: DatabaseStatement[] = [];
  const tablespaces = new Set<string>();
  const unknown: string[] = [];
  let database: string | undefined;
  let grantor: string | undefined;

  for (const statement of splitStatements(text)) {
    const read = readStatement(statement, grantor);
    switch (read.what) {
      case "role":
        if (!roles.has(read.name)) roles.set(read.name, []);
        break;
      case "role-statement":
        roles.get(read.role)?.push(read.statement);
        break;
      case "membership":
        memberships.push(read.statement);
        break;
      case "database":
        database ??= read.name;
        break;
      case "database-statement":
        databaseStatements.push(read.statement);
        break;
      case "tablespace":
        tablespaces.add(read.name);
        break;
      case "grantor":
        grantor = read.name;
        break;
      case "nothing":
        break;
      case "unknown":
        unknown.push(read.words);
        break;
    }
  }
  return {
    database,
    roles: [...roles].map(([name, statements]) => ({ name, statements })),
    memberships,
    databaseStatements,
    tablespaces: [...tablespaces],
    unknown,
  };
}

type Read =
  | { readonly what: "role" | "database" | "tablespace"; readonly name: string }
  | { readonly what: "role-statement"; readonly role: string; readonly statement: RoleStatement }
  | { readonly what: "membership"; readonly statement: Membership }
  | { readonly what: "database-statement"; readonly statement: DatabaseStatement }
  | { readonly what: "grantor"; readonly name: string | undefined }
  | { readonly what: "nothing" }
  | { readonly what: "unknown"; readonly words: string };

/** Which kind a statement is of, by its words in their fixed places; names are only looked at. */
export function readStatement(statement: SqlStatement, grantor: string | undefined): Read {
  const { tokens } = statement;
  const begins = (...words: readonly string[]) => startsWith(tokens, 0, words);
  const name = nameOf(tokens[2]);
  if (begins("create", "role") && tokens.length === 3) return { what: "role", name };
  if (begins("create", "database")) return { what: "database", name };
  if (begins("create", "tablespace") || begins("alter", "tablespace")) {
    return { what: "tablespace", name };
  }
  if (begins("alter", "role")) return readAlterRole(statement, name);
  if (begins("alter", "database")) return readAlterDatabase(statement);
  if (begins("comment", "on") || begins("security", "label")) return readText(statement);
  if (begins("grant") || begins("revoke")) return readGrant(statement, grantor);
  if (begins("set", "session", "authorization")) {
    return { what: "grantor", name: nameOf(tokens[3]) };
  }
  if (begins("reset", "session", "authorization")) return { what: "grantor", name: undefined };
  // Settings of the session that reads the dump.
  if (begins("set") || begins("select", "pg_catalog")) return { what: "nothing" };
  return unknownStatement(statement);
}

function readAlterRole(statement: SqlStatement, role: string): Read {
  const { tokens } = statement;
  const about = (kind: RoleStatement["kind"], subject: string): Read => ({
    what: "role-statement",
    role,
    statement: { ...statement, kind, subject },
  });
  if (startsWith(tokens, 3, ["with"])) return about("attributes", "its attributes");
  if (startsWith(tokens, 3, ["set"])) return about("setting", `the setting ${nameOf(tokens[4])}`);
  if (startsWith(tokens, 3, ["in", "database"]) && startsWith(tokens, 6, ["set"])) {
    return onDatabase(statement, 5, {
      kind: "setting",
      subject: `the setting ${nameOf(tokens[7])} of role ${quoted(role)} in the database`,
      role,
    });
  }
  return unknownStatement(statement);
}

function readAlterDatabase(statement: SqlStatement): Read {
  const { tokens } = statement;
  const after = (...words: readonly string[]) => startsWith(tokens, 3, words);
  const about = (kind: DatabaseStatement["kind"], subject: string, role?: string) =>
    onDatabase(statement, 2, { kind, subject, role });
  if (after("owner", "to")) {
    const owner = nameOf(tokens[5]);
    return about("owner", `its owner ${quoted(owner)}`, owner);
  }
  if (after("connection", "limit")) return about("limit", "its connection limit");
  if (after("is_template")) return about("template", "that it is a template");
  if (after("set") && !after("set", "tablespace")) {
    return about("setting", `the setting ${nameOf(tokens[4])}`);
  }
  return about("other", wordsOf(statement));
}

/** `COMMENT ON …` and `SECURITY LABEL FOR … ON …`. */
function readText(statement: SqlStatement): Read {
  const { tokens } = statement;
  const isLabel = startsWith(tokens, 0, ["security", "label"]);
  const on = isLabel ? (startsWith(tokens, 2, ["for"]) ? 4 : 2) : 1;
  const kind = isLabel ? "label" : "comment";
  const subject = isLabel ? "its security label" : "its comment";
  const name = nameOf(tokens[on + 2]);
  if (startsWith(tokens, on, ["on", "role"])) {
    return {
      what: "role-statement",
      role: name,
      statement: { ...statement, kind, subject },
    };
  }
  if (startsWith(tokens, on, ["on", "database"])) {
    return onDatabase(statement, on + 2, { kind, subject, role: undefined });
  }
  if (startsWith(tokens, on, ["on", "tablespace"])) return { what: "tablespace", name };
  return unknownStatement(statement);
}

function readGrant(statement: SqlStatement, grantor: string | undefined): Read {
  const { tokens } = statement;
  if (startsWith(tokens, 0, ["grant"]) && startsWith(tokens, 2, ["to"])) {
    const by = tokens.findIndex(
      (_, i) => i > 3 && startsWith(tokens, i, ["granted", "by"]) && i === tokens.length - 3,
    );
    return {
      what: "membership",
      statement: {
        ...statement,
        role: nameOf(tokens[1]),
        member: nameOf(tokens[3]),
        grantorAt: tokens[by]?.start,
      },
    };
  }
  // The privileges before it are keywords, so that none of them is a name.
  const on = tokens.findIndex((_, i) => startsWith(tokens, i, ["on"]));
  const direction = tokens.findIndex(
    (_, i) => i > on && (startsWith(tokens, i, ["to"]) || startsWith(tokens, i, ["from"])),
  );
  const receiver = tokens[direction + 1];
  const role = receiver === undefined || isWord(receiver, "public") ? undefined : nameOf(receiver);
  if (startsWith(tokens, on, ["on", "database"]) && direction === on + 3) {
    const start = tokens[on]?.start ?? 0;
    const privileges = statement.text.slice(0, start).trim();
    const whom = statement.text.slice(tokens[direction]?.start);
    return onDatabase(statement, on + 2, {
      kind: "privilege",
      subject: `${privileges} ON DATABASE … ${whom}`,
      role,
      grantor,
    });
  }
  if (startsWith(tokens, on, ["on", "parameter"]) && role !== undefined) {
    return {
      what: "role-statement",
      role,
      statement: {
        ...statement,
        kind: "parameter-grant",
        subject: `its right to ${nameOf(tokens[on + 2])}`,
      },
    };
  }
  if (startsWith(tokens, on, ["on", "tablespace"])) {
    return { what: "tablespace", name: nameOf(tokens[on + 2]) };
  }
  return unknownStatement(statement);
}

function onDatabase(
  statement: SqlStatement,
  at: number,
  rest: Pick<DatabaseStatement, "kind" | "subject" | "role"> & {
    readonly grantor?: string | undefined;
  },
): Read {
  const token = statement.tokens[at];
  if (token === undefined) return unknownStatement(statement);
  return {
    what: "database-statement",
    statement: {
      ...statement,
      grantor: undefined,
      ...rest,
      database: token.value,
      nameAt: [token.start, token.end],
    },
  };
}

function unknownStatement(statement: SqlStatement): Read {
  return { what: "unknown", words: wordsOf(statement) };
}

/** The words at its beginning: nothing of them is a value. */
function wordsOf({ tokens }: SqlStatement): string {
  const end = tokens.findIndex(({ kind }) => kind !== "word");
  return tokens
    .slice(0, Math.min(4, end < 0 ? tokens.length : end))
    .map(({ text }) => text)
    .join(" ");
}

function startsWith(tokens: readonly SqlToken[], at: number, words: readonly string[]): boolean {
  return at >= 0 && words.every((word, i) => isWord(tokens[at + i], word));
}

function isWord(token: SqlToken | undefined, word: string): boolean {
  return token?.kind === "word" && token.value === word;
}

function nameOf(token: SqlToken | undefined): string {
  return token?.value ?? "";
}

function quoted(name: string): string {
  return `"${name}"`;
}
