import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { applyDatabaseSettings, applyRoles, missingRoles } from "../../src/backup/apply-globals.ts";
import { runToEnd } from "../../src/backup/client-run.ts";
import { dumpGlobals } from "../../src/backup/dump-globals.ts";
import { type Globals, parseGlobals } from "../../src/backup/globals.ts";
import { startProgram } from "../../src/postgres/child-program.ts";
import { clientConnection } from "../../src/postgres/client-connection.ts";
import { findClientPrograms } from "../../src/postgres/client-programs.ts";
import { maintenanceUrl } from "../../src/postgres/maintenance-url.ts";
import { type Session, withSession } from "../../src/postgres/session.ts";
import { fastSettings, withThrowawayServer } from "../../src/postgres/throwaway-server.ts";
import { pgtenant } from "../harness/command.ts";

/** Names and values that break whoever pastes them into SQL. */
const hostile = {
  role: "we;ird \"quoted\" 'rôle' \\ $$ -- 鍵",
  database: "da;ta \"base\" 'x' IN DATABASE y",
  value: "x;\ny'z\\ $$; DROP ROLE app; --",
};
const target = 'an;other "name" ON DATABASE z';

const id = (name: string) => `"${name.replaceAll('"', '""')}"`;
const literal = (text: string) => ` E'${text.replaceAll("\\", "\\\\").replaceAll("'", "''")}'`;

const setUp = [
  `CREATE ROLE ${id(hostile.role)} LOGIN PASSWORD 'first' CONNECTION LIMIT 5 VALID UNTIL '2031-01-01'`,
  "CREATE ROLE grp NOINHERIT",
  "CREATE ROLE app LOGIN CREATEDB PASSWORD 'second'",
  "CREATE ROLE boss SUPERUSER CREATEROLE REPLICATION BYPASSRLS",
  `COMMENT ON ROLE grp IS ${literal(hostile.value)}`,
  "GRANT grp TO app WITH ADMIN OPTION",
  `GRANT grp TO ${id(hostile.role)}`,
  "GRANT pg_monitor TO app",
  `ALTER ROLE app SET search_path = 'a', "B b", public, ${id(hostile.role)}`,
  `ALTER ROLE app SET application_name = ${literal(hostile.value)}`,
  "ALTER ROLE grp SET work_mem = '5MB'",
  "GRANT SET ON PARAMETER log_min_messages TO app",
  `CREATE DATABASE ${id(hostile.database)} OWNER app CONNECTION LIMIT 17`,
  `ALTER DATABASE ${id(hostile.database)} SET search_path = app, "B b", public`,
  `ALTER DATABASE ${id(hostile.database)} SET "my.custom" = ${literal(hostile.value)}`,
  `ALTER ROLE app IN DATABASE ${id(hostile.database)} SET statement_timeout = '1min'`,
  `ALTER ROLE ${id(hostile.role)} IN DATABASE ${id(hostile.database)} SET search_path = "; x", y`,
  `COMMENT ON DATABASE ${id(hostile.database)} IS ${literal(hostile.value)}`,
  `REVOKE ALL ON DATABASE ${id(hostile.database)} FROM PUBLIC`,
  `GRANT CONNECT ON DATABASE ${id(hostile.database)} TO grp WITH GRANT OPTION`,
  "SET ROLE grp",
  `GRANT CONNECT ON DATABASE ${id(hostile.database)} TO ${id(hostile.role)}`,
  "RESET ROLE",
];

suite("roles and database settings", () => {
  let done: () => void = () => undefined;
  let servers: Promise<unknown> = Promise.resolve();
  let source = "";
  let fresh = "";
  let text = "";
  let globals: Globals;
  let originals: Awaited<ReturnType<typeof described>>;

  before(async () => {
    // Roles belong to a server: two of our own, since other tests would see ours.
    const stop = new Promise<void>((resolve) => {
      done = resolve;
    });
    const started = [0, 1].map(() => {
      let running: Promise<void> = Promise.resolve();
      const url = new Promise<string>((resolve, reject) => {
        running = withThrowawayServer(
          { binDir: process.env.PGTENANT_PG_BIN, path: process.env.PATH, settings: fastSettings },
          async (server) => {
            resolve(server.url);
            await stop;
          },
        );
        running.catch(reject);
      });
      return { url, running };
    });
    servers = Promise.all(started.map(({ running }) => running));
    [source = "", fresh = ""] = await Promise.all(started.map(({ url }) => url));
    await onServer(source, async (session) => {
      for (const statement of setUp) await session.client.query(statement);
      originals = await described(session, hostile.database);
    });
    text = await dumped(true);
    globals = parseGlobals(text);
  });
  after(async () => {
    done();
    await servers;
  });

  async function context() {
    return {
      programs: await findClientPrograms({ path: process.env.PATH, serverMajor: await major() }),
      connection: clientConnection(maintenanceUrl(source, hostile.database), "test"),
      environment: { PATH: process.env.PATH ?? "" },
    };
  }
  async function dumped(rolePasswords: boolean): Promise<string> {
    const where = await context();
    const bytes = dumpGlobals((program, args) => runToEnd(where, program, args), { rolePasswords });
    return Buffer.concat(await Array.fromAsync(bytes)).toString("utf8");
  }
  const major = () =>
    onServer(source, async (session) => Math.floor(session.serverVersionNumber / 10_000));

  test("all of it comes back on a server that has none of it, under another name", async () => {
    await onServer(fresh, async (session) => {
      assert.deepEqual(
        [...(await missingRoles(session, globals))].sort(),
        ["app", "boss", "grp", hostile.role].sort(),
      );
      const { created, skipped, notes } = await applyRoles(session, globals);
      assert.deepEqual([...created].sort(), ["app", "boss", "grp", hostile.role].sort());
      assert.deepEqual(skipped, ["postgres"]);
      assert.deepEqual(notes, []);
      await session.client.query(`CREATE DATABASE ${id(target)}`);
      const settings = await applyDatabaseSettings(session, globals, target);
      assert.deepEqual(settings.notes, []);
      assert.ok(settings.applied >= 9, `${settings.applied} statements`);
      assert.deepEqual(await described(session, target), originals);
      // A second time nothing is missing, and nothing is done.
      assert.deepEqual(await missingRoles(session, globals), []);
      const again = await applyRoles(session, globals);
      assert.deepEqual([again.created, again.notes], [[], []]);
    });
  });

  test("of a role that exists nothing is altered, its memberships among others included", async () => {
    await withFresh(["app", "grp"], async (session) => {
      await session.client.query("CREATE ROLE app NOLOGIN; CREATE ROLE grp");
      const { created, skipped } = await applyRoles(session, globals);
      assert.deepEqual([...created].sort(), ["boss", hostile.role].sort());
      assert.deepEqual(skipped, ["app", "grp", "postgres"]);
      const { roles, memberships } = await described(session, "postgres");
      assert.deepEqual(
        roles.find(({ rolname }) => rolname === "app"),
        {
          rolname: "app",
          attributes: "000000",
          inherits: true,
          limit: -1,
          until: null,
          password: null,
          settings: null,
          comment: null,
        },
      );
      // The new role is a member, as it was; app was not made one.
      assert.deepEqual(
        memberships.map(({ role, member }) => [role, member]),
        [["grp", hostile.role]],
      );
    });
  });

  test("without passwords no hash is in the text, and the roles are named that need one", async () => {
    const plain = await dumped(false);
    assert.match(text, /SCRAM-SHA-256/);
    assert.doesNotMatch(plain, /SCRAM-SHA-256|PASSWORD/);
    await withFresh([], async (session) => {
      const { notes } = await applyRoles(session, parseGlobals(plain));
      assert.deepEqual(notes, [
        `roles came back without passwords: "app", "${hostile.role}"; give each one by ALTER ROLE … PASSWORD`,
      ]);
    });
  });

  test("a role that may not make superusers makes the rest, and says what is missing", async () => {
    await withFresh(["dba"], async (session) => {
      await session.client.query("CREATE ROLE dba LOGIN CREATEROLE CREATEDB PASSWORD 'x'");
      const url = new URL(fresh);
      url.username = "dba";
      url.password = "x";
      await onServer(url.href, async (limited) => {
        const { created, notes } = await applyRoles(limited, globals);
        assert.ok(created.includes("boss") && created.includes("app"));
        const told = notes.join("\n");
        assert.match(told, /role "boss" came back without SUPERUSER, .*BYPASSRLS: .*superuser/);
        assert.doesNotMatch(told, /role "app" came back without .*LOGIN/);
        assert.doesNotMatch(told, /SCRAM/);
        await limited.client.query(`CREATE DATABASE ${id(target)}`);
        const settings = await applyDatabaseSettings(limited, globals, target);
        assert.match(settings.notes.join("\n"), /came back without (its owner|CONNECT ON|GRANT)/);
      });
      const { roles } = await described(session, "postgres");
      const app = roles.find(({ rolname }) => rolname === "app");
      assert.match(String(app?.password), /^SCRAM/);
      const boss = roles.find(({ rolname }) => rolname === "boss");
      assert.equal(boss?.attributes.slice(0, 2), "01", "no superuser, but CREATEROLE");
    });
  });

  test("settings are given to no role that is missing, and to no other database", async () => {
    await withFresh([], async (session) => {
      await session.client.query(`CREATE DATABASE ${id(target)}`);
      const { notes } = await applyDatabaseSettings(session, globals, target);
      assert.ok(
        notes.includes(
          `database "${target}" came back without its owner "app": there is no role "app"`,
        ),
        notes.join("\n"),
      );
      const other = await applyDatabaseSettings(session, { ...globals, database: "x" }, target);
      assert.equal(other.applied, 0);
      assert.match(other.notes[0] ?? "", /it is about database "da;ta/);
    });
  });

  test("the value of a setting that cannot be given is not told", async () => {
    const secret = "the-jwt-secret";
    const altered = parseGlobals(
      `CREATE DATABASE d; ALTER DATABASE d SET no_such_setting TO '${secret}'; CREATE TABLESPACE t OWNER x LOCATION '/x'; DROP DATABASE d;`,
    );
    assert.deepEqual(altered.tablespaces, ["t"]);
    assert.deepEqual(altered.unknown, ["DROP DATABASE d"]);
    await withFresh([], async (session) => {
      await session.client.query(`CREATE DATABASE ${id(target)}`);
      const { notes } = await applyDatabaseSettings(session, altered, target);
      assert.match(notes.join(), /came back without the setting no_such_setting: unrecognized/);
      assert.doesNotMatch(notes.join(), new RegExp(secret));
      const roles = await applyRoles(session, altered);
      assert.deepEqual(roles.notes, [
        'tablespaces are not restored: "t"',
        "a statement was left out: DROP DATABASE d …",
      ]);
    });
  });

  test("the text makes everything on a new server when psql reads it", async () => {
    await withFresh([], async (session) => {
      const { programs, environment } = await context();
      const { url, env } = clientConnection(fresh, "test");
      // It names the superuser too, which every server has; psql goes on after that.
      const psql = startProgram(join(programs.binDir, "psql"), ["-X", "-q", `--dbname=${url}`], {
        env: { ...environment, ...env },
        stdin: "pipe",
      });
      psql.stdout.resume();
      psql.stdin?.end(await dumped(false));
      const told = (await psql.done).filter((line) => /ERROR/.test(line));
      assert.deepEqual(
        told.map((line) => line.replace(/^.*ERROR: +/, "")),
        ['role "postgres" already exists'],
      );
      const { roles, ...rest } = await described(session, hostile.database);
      const nobody = originals.roles.map((role) => ({ ...role, password: null }));
      assert.deepEqual({ roles, ...rest }, { ...originals, roles: nobody });
      await session.client.query(`DROP DATABASE ${id(hostile.database)}`);
    });
  });

  test("a restore on a server without its roles does not stop at one", async () => {
    const folder = await mkdtemp(join(tmpdir(), "pgtenant-globals-"));
    try {
      await onServer(maintenanceUrl(source, hostile.database), async ({ client }) => {
        await client.query("CREATE TABLE IF NOT EXISTS owned (id int PRIMARY KEY)");
        await client.query("ALTER TABLE owned OWNER TO app");
        await client.query(`GRANT SELECT ON owned TO ${id(hostile.role)}`);
      });
      const env = { BACKUP_DIR: folder };
      const url = maintenanceUrl(source, hostile.database);
      const made = await pgtenant(["backup", "--role-passwords"], { url, env });
      assert.equal(made.code, 0, made.stderr);
      await withFresh([], async (session) => {
        const restored = await pgtenant(["restore", "latest", "-f"], {
          url: maintenanceUrl(fresh, hostile.database),
          env,
        });
        assert.equal(restored.code, 0, restored.stderr);
        assert.deepEqual(await described(session, hostile.database), originals);
        await onServer(maintenanceUrl(fresh, hostile.database), async ({ client }) => {
          const { rows } = await client.query(
            "SELECT relowner::regrole::text AS owner FROM pg_class WHERE relname = 'owned'",
          );
          assert.deepEqual(rows, [{ owner: "app" }]);
        });
        await session.client.query(`DROP DATABASE ${id(hostile.database)}`);
      });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  /** The fresh server, emptied before: of databases and roles, ours and the given ones. */
  async function withFresh(
    roles: readonly string[],
    work: (session: Session) => Promise<void>,
  ): Promise<void> {
    await onServer(fresh, async (session) => {
      await session.client.query(`DROP DATABASE IF EXISTS ${id(target)}`);
      await session.client.query("REVOKE SET ON PARAMETER log_min_messages FROM PUBLIC");
      for (const role of ["app", "boss", "grp", hostile.role, "dba", ...roles]) {
        const { rows } = await session.client.query("SELECT FROM pg_roles WHERE rolname = $1", [
          role,
        ]);
        if (rows.length > 0) await session.client.query(`DROP OWNED BY ${id(role)}`);
        await session.client.query(`DROP ROLE IF EXISTS ${id(role)}`);
      }
      await work(session);
    });
  }
});

function onServer<T>(url: string, work: (session: Session) => Promise<T>): Promise<T> {
  return withSession({ databaseUrl: url, applicationName: "pgtenant-test" }, work);
}

interface DescribedRole {
  readonly rolname: string;
  readonly attributes: string;
  readonly password: string | null;
  readonly [further: string]: unknown;
}

/** Everything that the catalog says of roles and of one database, without its name. */
async function described(session: Session, database: string) {
  const rows = async <Row>(query: string, values: readonly unknown[] = []) =>
    (await session.client.query(query, [...values])).rows as Row[];
  return {
    roles: await rows<DescribedRole>(
      `SELECT rolname, concat(rolsuper::int, rolcreaterole::int, rolcreatedb::int, rolcanlogin::int,
                rolreplication::int, rolbypassrls::int) AS attributes, rolinherit AS inherits,
              rolconnlimit AS limit, rolvaliduntil::text AS until, rolpassword AS password,
              (SELECT setconfig::text FROM pg_db_role_setting WHERE setrole = a.oid AND setdatabase = 0) AS settings,
              shobj_description(a.oid, 'pg_authid') AS comment
         FROM pg_authid a WHERE rolname !~ '^(pg_|postgres$|dba$)' ORDER BY rolname COLLATE "C"`,
    ),
    memberships: await rows<{ role: string; member: string }>(
      `SELECT r.rolname AS role, m.rolname AS member, a.admin_option
         FROM pg_auth_members a JOIN pg_roles r ON r.oid = roleid JOIN pg_roles m ON m.oid = member
        WHERE m.rolname !~ '^(pg_|postgres$|dba$)' ORDER BY 1, 2`,
    ),
    database: await rows(
      `SELECT datdba::regrole::text AS owner, datconnlimit, datacl::text,
              shobj_description(oid, 'pg_database') AS comment,
              (SELECT json_agg(json_build_array(setrole::regrole::text, setconfig) ORDER BY setrole::regrole::text)
                 FROM pg_db_role_setting WHERE setdatabase = d.oid) AS settings
         FROM pg_database d WHERE datname = $1`,
      [database],
    ),
    parameters: await rows("SELECT parname, paracl::text FROM pg_parameter_acl ORDER BY 1").catch(
      () => [], // there are none before version 15
    ),
  };
}
