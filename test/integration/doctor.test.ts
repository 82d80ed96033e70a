import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, suite, test } from "node:test";
import { pgtenant } from "../harness/command.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import { only, report } from "../harness/doctor.ts";
import { otherProfile } from "../harness/other-database.ts";
import { exportBundle } from "../harness/tenant-bundle.ts";

const role = "doctor_reader";
let database: TestDatabase;
let backups: string;

function asRole(name: string): string {
  const url = new URL(database.url);
  url.username = name;
  url.password = "secret word";
  return url.href;
}

suite("doctor", () => {
  before(async () => {
    backups = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    database = await createDatabase("doctor", "n-kudo", { settings: { "seed.big": "off" } });
    await database.query(`
      DROP ROLE IF EXISTS ${role};
      CREATE ROLE ${role} LOGIN PASSWORD 'secret word'`);
  });
  afterEach(() => database.query(`REVOKE ALL ON ALL TABLES IN SCHEMA public FROM ${role}`));
  after(async () => {
    await database.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`);
    await database.drop();
    await rm(backups, { recursive: true });
  });

  test("finds all well in the database as it is, and the revoked serial that is nobody's", async () => {
    const found = await report(database.url);
    assert.deepEqual([found.problems, found.warnings, found.exitCode], [0, 0, 0]);
    assert.match(
      only(found, "connection").message,
      /^PostgreSQL \d+\.\d+, database "test_doctor_\w+", user "postgres" \(superuser\)$/,
    );
    assert.equal(
      only(found, "classification").message,
      'all 22 tables are accounted for: 21 belong to tenants, by profile "n-kudo"',
    );
    assert.equal(
      only(found, "rights").message,
      "this role may read and write all 21 tables of tenants, and sees every row",
    );
    const orphans = only(found, "orphans");
    assert.equal(orphans.level, "note");
    assert.equal(
      orphans.message,
      "1 row(s) of public.crl_entries belong to no tenant: nothing is reached by agent_id",
    );
    assert.equal(
      only(found, "chain").message,
      "89 link(s) of the chain in public.audit_events hold",
    );
    assert.equal(only(found, "tenants").message, "no row refers to a row of another tenant");
    assert.equal(only(found, "wal-archiving").level, "note");
  });

  test("ends with 0 and says so on the standard output, and has it all for programs", async () => {
    const options = { url: database.url, env: { BACKUP_DIR: backups } };
    assert.equal((await pgtenant(["backup"], options)).code, 0);
    const { code, stdout, stderr } = await pgtenant(["doctor"], options);
    assert.equal(code, 0);
    assert.equal(stderr, "");
    assert.match(stdout.toString(), /^ok {7}PostgreSQL /);
    assert.match(stdout.toString(), /\n\nall is well: exports, imports and backups should work\n$/);
    assert.match(
      stdout.toString(),
      /\nnote {5}1 row\(s\) of public\.crl_entries belong to no tenant: .*\n {9}They are in no bundle; /,
    );
    const json = await pgtenant(["doctor", "--json"], options);
    const { problems, warnings, exitCode, findings } = JSON.parse(json.stdout.toString());
    assert.deepEqual([problems, warnings, exitCode], [0, 0, 0]);
    const rows = (await report(database.url)).findings;
    assert.deepEqual(findings.slice(0, rows.length), rows);
    assert.deepEqual(
      findings.slice(rows.length).map((one: { check: string }) => one.check),
      ["client-programs", "backup-folder", "backup-space", "newest-backup", "backup-key"],
    );
  });

  test("finds every table that a role cannot read, and claims nothing about their rows: exit 7", async () => {
    await database.query(
      `GRANT SELECT ON ALL TABLES IN SCHEMA public TO ${role}; REVOKE SELECT ON agents, audit_events FROM ${role}`,
    );
    const found = await report(asRole(role));
    assert.equal(found.exitCode, 7);
    const [rights, ...others] = found.findings.filter((one) => one.level === "problem");
    assert.deepEqual(others, []);
    assert.equal(rights?.message, "this role cannot read public.agents, public.audit_events");
    assert.deepEqual(rights?.details?.toSorted(), ["public.agents", "public.audit_events"]);
    // Whose a serial or a certificate is, only the agents tell.
    assert.ok(!found.findings.some((one) => one.check === "orphans" || one.check === "chain"));
    assert.equal(only(found, "tenants").message, "the rows of 4 table(s) could not be looked at");
    const unwritable = found.findings.find((one) =>
      one.message.startsWith("this role cannot write"),
    );
    assert.match(unwritable?.message ?? "", /, public\.\w+ and 18 more: imports fail$/);

    const { code, stdout, stderr } = await pgtenant(["doctor"], { url: asRole(role) });
    assert.equal(code, 7);
    assert.match(stdout.toString(), /\nPROBLEM {2}this role cannot read public\.agents, /);
    assert.doesNotMatch(stdout.toString(), /all is well|no problem/);
    assert.equal(
      stderr,
      "pgtenant: 1 problem found\nhint: Each is described above, with what to do.\n",
    );
    await assert.rejects(exportBundle(asRole(role), "acme"), { exitCode: 7 });
  });

  test("finds the migrations table, too, that an export reads: exit 7", async () => {
    await database.query(
      `GRANT SELECT ON ALL TABLES IN SCHEMA public TO ${role}; REVOKE SELECT ON schema_migrations FROM ${role}`,
    );
    const found = await report(asRole(role));
    assert.equal(found.exitCode, 7);
    assert.ok(
      found.findings.some((f) => f.message === "this role cannot read public.schema_migrations"),
    );
    await assert.rejects(exportBundle(asRole(role), "acme"), { exitCode: 7 });
  });

  test("warns that a role which may only read can export and not import: exit 0", async () => {
    await database.query(`GRANT SELECT ON ALL TABLES IN SCHEMA public TO ${role}`);
    const found = await report(asRole(role));
    assert.deepEqual([found.problems, found.exitCode], [0, 0]);
    const messages = found.findings.filter((f) => f.level === "warning").map((f) => f.message);
    assert.equal(messages.length, 2);
    assert.match(
      messages[0] ?? "",
      /^this role cannot write public\..* and 18 more: exports work, imports fail$/,
    );
    assert.match(
      messages[1] ?? "",
      /^this role cannot move on public\.\w+_id_seq, public\.\w+_id_seq: imports fail$/,
    );
    await exportBundle(asRole(role), "acme");
    const env = { BACKUP_DIR: join(backups, "none") };
    const { code, stdout } = await pgtenant(["doctor"], { url: asRole(role), env });
    assert.equal(code, 0);
    // The third: there is no backup.
    assert.match(stdout.toString(), /\n\nno problem; 3 warnings to look at\n$/);
  });

  test("warns of a role that may not make temporary tables, or not write by default", async () => {
    await database.query(`
      GRANT ALL ON ALL TABLES IN SCHEMA public TO ${role};
      GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO ${role};
      REVOKE TEMP ON DATABASE ${database.name} FROM PUBLIC;
      ALTER ROLE ${role} SET default_transaction_read_only = on`);
    const found = await report(asRole(role));
    assert.equal(
      only(found, "temporary-tables").hint,
      `GRANT TEMP ON DATABASE "${database.name}" TO "${role}"`,
    );
    assert.match(only(found, "read-only").message, /read-only by default: imports fail$/);
    assert.deepEqual([found.problems, found.warnings], [0, 2]);
    await database.query(`
      GRANT TEMP ON DATABASE ${database.name} TO PUBLIC;
      ALTER ROLE ${role} RESET default_transaction_read_only;
      REVOKE ALL ON ALL SEQUENCES IN SCHEMA public FROM ${role}`);
  });

  test("finds row-level security that would hide rows from the role: exit 7", async () => {
    await database.query(`
      GRANT SELECT ON ALL TABLES IN SCHEMA public TO ${role};
      ALTER TABLE sites ENABLE ROW LEVEL SECURITY;
      CREATE POLICY half ON sites FOR SELECT USING (name < 'M')`);
    const found = await report(asRole(role));
    const finding = only(found, "row-level-security");
    assert.equal(finding.level, "problem");
    assert.equal(
      finding.message,
      "row-level security hides rows of public.sites from this role: exports fail",
    );
    assert.match(finding.hint ?? "", /BYPASSRLS/);
    assert.equal(found.exitCode, 7);
    assert.equal((await report(database.url)).problems, 0);
    await database.query("DROP POLICY half ON sites; ALTER TABLE sites DISABLE ROW LEVEL SECURITY");
  });

  test("finds a table that nothing classifies, and looks at all the others: exit 2", async () => {
    await database.query("CREATE TABLE scratch (n integer, note text)");
    const found = await report(database.url);
    assert.equal(found.exitCode, 2);
    const finding = only(found, "classification");
    assert.equal(finding.level, "problem");
    assert.match(
      finding.message,
      /^table "public\.scratch" has no foreign key that leads to "public\.tenants"/,
    );
    assert.match(finding.hint ?? "", /"global": \{"public\.scratch": .*--accept-unclassified/);
    assert.deepEqual(finding.details, ["public.scratch (n, note)"]);
    assert.equal(only(found, "orphans").level, "note");
    assert.equal((await pgtenant(["doctor"], { url: database.url })).code, 2);

    const accepted = await report(database.url, { acceptUnclassified: true });
    assert.equal(accepted.exitCode, 0);
    assert.equal(only(accepted, "classification").level, "warning");
    assert.match(
      only(accepted, "classification").message,
      /^nothing classifies public\.scratch, which is accepted: its rows are in no bundle; 21 belong/,
    );
    await database.query("DROP TABLE scratch");
  });

  test("finds a database that is not the profile's: exit 2", async () => {
    await assert.rejects(report(database.url, { profile: "/nowhere.json" }), {
      code: "invalid-profile",
      exitCode: 2,
    });
    const found = await report(database.url, { profile: otherProfile });
    assert.equal(found.exitCode, 2);
    assert.match(
      only(found, "classification").message,
      /^the database has no table "app\.accounts"/,
    );
  });

  test("warns of triggers that could alter rows, and of columns that the profile does not know", async () => {
    await database.query(`
      CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.updated_at := now(); RETURN NEW; END';
      CREATE TRIGGER stamped BEFORE UPDATE ON sites FOR EACH ROW EXECUTE FUNCTION stamp();
      ALTER TABLE sites ADD COLUMN colour text`);
    const found = await report(database.url);
    const triggers = only(found, "triggers");
    assert.equal(triggers.level, "warning");
    assert.equal(
      triggers.message,
      "triggers could alter rows that are put back: stamped on public.sites",
    );
    assert.match(triggers.hint ?? "", /--disable-triggers/);
    assert.match(
      only(found, "unknown-column").message,
      /^column "public\.sites\.colour" is not known/,
    );
    assert.deepEqual([found.problems, found.warnings, found.exitCode], [0, 2, 0]);
    await database.query("DROP FUNCTION stamp CASCADE; ALTER TABLE sites DROP COLUMN colour");
  });
});
