import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { withSession } from "../../src/postgres/session.ts";
import { systemIdentifier } from "../../src/postgres/system-identifier.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";

suite("what tells a cluster from others", () => {
  let database: TestDatabase;
  const role = `identifier_${process.pid}`;

  before(async () => {
    database = await createDatabase("identifier", "empty");
    await database.query(`CREATE ROLE ${role} LOGIN PASSWORD 'identifier'`);
  });
  after(async () => {
    await database.query(`DROP OWNED BY ${role}; DROP ROLE ${role}`);
    await database.drop();
  });

  const identifier = () => {
    const url = new URL(database.url);
    url.username = role;
    url.password = "identifier";
    const connection = { databaseUrl: url.href, applicationName: "pgtenant-test" };
    return withSession(connection, systemIdentifier);
  };

  test("is told to every role, and where that was revoked is unknown and no error", async () => {
    assert.match((await identifier()) ?? "", /^\d{15,20}$/);
    await database.query("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC");
    assert.equal(await identifier(), null);
  });
});
