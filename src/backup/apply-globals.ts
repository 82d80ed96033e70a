import { sql } from "kysely";
import { type Session, withTransaction } from "../postgres/session.ts";
import { SqlState, sqlStateOf } from "../postgres/sqlstates.ts";
import type {
  DatabaseStatement,
  GlobalRole,
  Globals,
  Membership,
  RoleStatement,
} from "./globals.ts";

export interface AppliedRoles {
  readonly created: readonly string[];
  /** Roles that were there already; nothing of them was altered. */
  readonly skipped: readonly string[];
  /** What is not as it was, and what is left to do. */
  readonly notes: readonly string[];
}

export interface AppliedSettings {
  /** How many statements have run. */
  readonly applied: number;
  readonly notes: readonly string[];
}

/** The roles of the backup that this server lacks. */
export async function missingRoles(session: Session, globals: Globals): Promise<readonly string[]> {
  const existing = await existingRoles(session);
  return globals.roles.map(({ name }) => name).filter((name) => !existing.has(name));
}

/**
 * Makes the roles that this server lacks, with their attributes, settings and memberships, in one
 * transaction. Roles that exist are left as they are. What this connection's role may not do is
 * left out and named: a managed server lets nobody make a superuser.
 *
 * @throws {AppError} exit 7 when the connection is lost
 */
export async function applyRoles(session: Session, globals: Globals): Promise<AppliedRoles> {
  return await withTransaction(session, "REPEATABLE READ", async () => {
    const existing = await existingRoles(session);
    const created: GlobalRole[] = [];
    const skipped: string[] = [];
    const notes: string[] = [];
    for (const role of globals.roles) {
      if (existing.has(role.name)) skipped.push(role.name);
      else {
        const failure = await attempt(session, `CREATE ROLE ${identifier(session, role.name)}`);
        if (failure === undefined) created.push(role);
        else if (failure.state === SqlState.duplicateObject) skipped.push(role.name);
        else notes.push(`role "${role.name}" was not made: ${failure.message}`);
      }
    }
    const withoutPassword: string[] = [];
    for (const role of created) {
      const lost = await giveRole(session, role);
      notes.push(...lost.notes);
      if (lost.needsPassword) withoutPassword.push(role.name);
    }
    const names = new Set(created.map(({ name }) => name));
    const fresh = globals.memberships.filter(
      ({ role, member }) => names.has(role) || names.has(member),
    );
    notes.push(...(await grantMemberships(session, fresh)));
    if (withoutPassword.length > 0) {
      const list = withoutPassword.map((name) => `"${name}"`).join(", ");
      notes.push(
        `roles came back without passwords: ${list}; give each one by ALTER ROLE … PASSWORD`,
      );
    }
    if (globals.tablespaces.length > 0) {
      const list = globals.tablespaces.map((name) => `"${name}"`).join(", ");
      notes.push(`tablespaces are not restored: ${list}`);
    }
    notes.push(...globals.unknown.map((words) => `a statement was left out: ${words} …`));
    return { created: [...names], skipped, notes };
  });
}

/**
 * Gives a database what the backup says about its own: owner, settings, limit, comment and
 * privileges, in one transaction. The database itself is never made or renamed.
 *
 * @param target the database that gets them, whatever it was called in the backup
 * @throws {AppError} exit 7 when the connection is lost
 */
export async function applyDatabaseSettings(
  session: Session,
  globals: Globals,
  target: string,
): Promise<AppliedSettings> {
  return await withTransaction(session, "REPEATABLE READ", async () => {
    const existing = await existingRoles(session);
    const notes: string[] = [];
    let applied = 0;
    for (const statement of globals.databaseStatements) {
      const failure =
        reasonToSkip(statement, globals.database, existing) ??
        (await attempt(session, forDatabase(session, statement, target), statement.grantor))
          ?.message;
      if (failure === undefined) applied++;
      else notes.push(`database "${target}" came back without ${statement.subject}: ${failure}`);
    }
    return { applied, notes };
  });
}

function reasonToSkip(
  statement: DatabaseStatement,
  database: string | undefined,
  roles: ReadonlySet<string>,
): string | undefined {
  if (statement.database !== database) return `it is about database "${statement.database}"`;
  for (const role of [statement.role, statement.grantor]) {
    if (role !== undefined && !roles.has(role)) return `there is no role "${role}"`;
  }
  if (statement.kind === "template") return "a template cannot be dropped";
  return statement.kind === "other" ? "it is not known what it does" : undefined;
}

/** The statement about another database: the name is replaced in the one place where it stands. */
function forDatabase(session: Session, statement: DatabaseStatement, target: string): string {
  const [start, end] = statement.nameAt;
  const { text } = statement;
  return `${text.slice(0, start)}${identifier(session, target)}${text.slice(end)}`;
}

async function giveRole(
  session: Session,
  role: GlobalRole,
): Promise<{ readonly notes: readonly string[]; readonly needsPassword: boolean }> {
  const notes: string[] = [];
  let canLogIn = false;
  let hasPassword = false;
  for (const statement of role.statements) {
    const failure = await attempt(session, statement.text);
    if (statement.kind !== "attributes") {
      if (failure === undefined) continue;
      notes.push(`role "${role.name}" came back without ${statement.subject}: ${failure.message}`);
      continue;
    }
    const attributes = attributesOf(statement);
    const lost = failure === undefined ? [] : await giveOneByOne(session, role.name, attributes);
    const given = attributes.filter(({ word }) => !lost.includes(word));
    canLogIn ||= given.some(({ word }) => word === "LOGIN");
    hasPassword ||= given.some(({ word }) => word === "PASSWORD");
    if (lost.length > 0) {
      notes.push(`role "${role.name}" came back without ${lost.join(", ")}: ${failure?.message}`);
    }
  }
  return { notes, needsPassword: canLogIn && !hasPassword };
}

interface Attribute {
  /** `LOGIN`, `CONNECTION LIMIT`, `PASSWORD`, … */
  readonly word: string;
  readonly text: string;
}

/** What a role has by itself: nothing is lost when saying so is forbidden. */
const defaults = new Set(
  "NOSUPERUSER INHERIT NOCREATEROLE NOCREATEDB NOLOGIN NOREPLICATION NOBYPASSRLS".split(" "),
);
/** Those that have a value, and the number of words that name them. */
const withValue = new Map([
  ["CONNECTION", 2],
  ["PASSWORD", 1],
  ["VALID", 2],
]);

function attributesOf({ text, tokens }: RoleStatement): readonly Attribute[] {
  const attributes: Attribute[] = [];
  for (let at = 4 /* ALTER ROLE name WITH */; at < tokens.length; ) {
    const first = at;
    const words = withValue.get(tokens[at]?.value.toUpperCase() ?? "") ?? 0;
    at += Math.max(words, 1);
    const named = tokens.slice(first, at).map(({ value }) => value.toUpperCase());
    if (words > 0) at += tokens[at]?.text === "-" ? 2 : 1;
    const end = tokens[at - 1]?.end ?? text.length;
    attributes.push({ word: named.join(" "), text: text.slice(tokens[first]?.start, end) });
  }
  return attributes;
}

/** @returns what could not be given */
async function giveOneByOne(
  session: Session,
  role: string,
  attributes: readonly Attribute[],
): Promise<readonly string[]> {
  const lost: string[] = [];
  for (const { word, text } of attributes) {
    if (defaults.has(word)) continue;
    const failure = await attempt(session, `ALTER ROLE ${identifier(session, role)} WITH ${text}`);
    if (failure !== undefined) lost.push(word);
  }
  return lost;
}

/** Who has granted them is kept where that can be; it matters less than the membership. */
async function grantMemberships(
  session: Session,
  memberships: readonly Membership[],
): Promise<readonly string[]> {
  const notes: string[] = [];
  const otherGrantor: string[] = [];
  for (const { text, role, member, grantorAt } of memberships) {
    let failure = await attempt(session, text);
    if (failure !== undefined && grantorAt !== undefined) {
      failure = await attempt(session, text.slice(0, grantorAt));
      if (failure === undefined) otherGrantor.push(`"${role}" to "${member}"`);
    }
    if (failure !== undefined) {
      notes.push(`role "${member}" is not a member of "${role}": ${failure.message}`);
    }
  }
  if (otherGrantor.length > 0) {
    notes.push(
      `memberships were granted by the role of this connection, not by those who once did: ${otherGrantor.join(", ")}`,
    );
  }
  return notes;
}

interface Failure {
  readonly state: string;
  readonly message: string;
}

/**
 * Runs one statement under a savepoint. What the server refuses is returned; a connection that
 * fails is thrown.
 */
async function attempt(
  session: Session,
  statement: string,
  as?: string,
): Promise<Failure | undefined> {
  const { client } = session;
  await client.query("SAVEPOINT global");
  try {
    // The grantor of a privilege is whoever grants it.
    if (as !== undefined) await client.query(`SET LOCAL ROLE ${identifier(session, as)}`);
    // The extended protocol takes one statement at a time, whatever the text turns out to be.
    await client.query({ text: statement, queryMode: "extended" } as { text: string });
    if (as !== undefined) await client.query("SET LOCAL ROLE NONE");
    await client.query("RELEASE SAVEPOINT global");
    return undefined;
  } catch (error) {
    const state = sqlStateOf(error);
    // Class 57: the server is ending us; 08: the connection is gone.
    if (state === undefined || /^(57|08)/.test(state) || !(error instanceof Error)) throw error;
    await client.query("ROLLBACK TO SAVEPOINT global");
    await client.query("RELEASE SAVEPOINT global");
    return { state, message: error.message };
  }
}

async function existingRoles(session: Session): Promise<Set<string>> {
  const { rows } = await sql<{ name: string }>`
    SELECT rolname AS name FROM pg_catalog.pg_roles`.execute(session.db);
  return new Set(rows.map(({ name }) => name));
}

function identifier(session: Session, name: string): string {
  return session.client.escapeIdentifier(name);
}
