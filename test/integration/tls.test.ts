import assert from "node:assert/strict";
import { copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { type Session, withSession } from "../../src/postgres/session.ts";
import {
  fastSettings,
  startThrowawayServer,
  type ThrowawayServer,
} from "../../src/postgres/throwaway-server.ts";
import { failure } from "../harness/assert-failure.ts";
import { makeCertificate, type ServerCertificate } from "../harness/certificates.ts";
import { pgtenant } from "../harness/command.ts";

/** What libpq makes of each mode, by our own connections and by pg_dump's. */
suite("sslmode", () => {
  let folder: string;
  let certificate: ServerCertificate;
  let other: ServerCertificate;
  /** Takes encrypted connections only. */
  let encrypted: ThrowawayServer;
  /** Takes none. */
  let plain: ThrowawayServer;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    await mkdir(join(folder, "other"));
    certificate = await makeCertificate(folder, "localhost");
    other = await makeCertificate(join(folder, "other"), "localhost");
    const programs = { binDir: process.env.PGTENANT_PG_BIN, path: process.env.PATH };
    encrypted = await startThrowawayServer({
      ...programs,
      settings: {
        ...fastSettings,
        ssl: "on",
        ssl_cert_file: certificate.certificate,
        ssl_key_file: certificate.key,
        ssl_ca_file: certificate.ca,
      },
    });
    plain = await startThrowawayServer({ ...programs, settings: fastSettings });
    await writeFile(
      join(encrypted.dataDir, "pg_hba.conf"),
      "hostssl all postgres 127.0.0.1/32 scram-sha-256\n",
    );
    await withSession(connectionTo(encrypted, "?sslmode=require"), ({ client }) =>
      client.query("SELECT pg_reload_conf()"),
    );
  });
  after(async () => {
    await encrypted.dispose();
    await plain.dispose();
    await rm(folder, { recursive: true });
  });

  function connectionTo(server: ThrowawayServer, parameters: string) {
    return { databaseUrl: `${server.url}${parameters}`, applicationName: "test" };
  }

  /** By name, where the certificate is looked at. */
  const byName = ({ url }: ThrowawayServer) => url.replace("127.0.0.1", "localhost");

  const isEncrypted = async ({ client }: Session) => {
    const { rows } = await client.query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()");
    return rows[0]?.ssl as boolean;
  };

  for (const [mode, onEncrypted, onPlain] of [
    ["", true, false],
    ["?sslmode=allow", true, false],
    ["?sslmode=prefer", true, false],
    ["?sslmode=require", true, "tls-unsupported"],
    ["?sslmode=disable", "encryption-wanted", false],
  ] as const) {
    test(`"${mode}" where encryption is demanded: ${onEncrypted}, where there is none: ${onPlain}`, async () => {
      for (const [server, expected] of [
        [encrypted, onEncrypted],
        [plain, onPlain],
      ] as const) {
        const session = withSession(connectionTo(server, mode), isEncrypted);
        if (typeof expected === "boolean") assert.equal(await session, expected);
        else await assert.rejects(session, failure(7, expected, /server at 127\.0\.0\.1:\d+/));
      }
    });
  }

  test("a certificate is looked at as far as the mode says", async () => {
    const { ca } = certificate;
    const none = join(folder, "none.crt");
    const others = `sslcert=${other.certificate}&sslkey=${other.key}`;
    for (const [where, parameters, expected] of [
      ["address", `sslmode=verify-ca&sslrootcert=${ca}`, true],
      ["address", `sslmode=verify-full&sslrootcert=${ca}`, [7, "tls-wrong-host"]],
      ["name", `sslmode=verify-full&sslrootcert=${ca}`, true],
      ["name", `sslmode=verify-full&sslrootcert=${other.ca}`, [7, "tls-untrusted"]],
      ["name", `sslmode=require&sslrootcert=${other.ca}`, [7, "tls-untrusted"]],
      ["name", `sslmode=prefer&sslrootcert=${other.ca}`, true],
      ["name", "sslmode=verify-full&sslrootcert=system", [7, "tls-untrusted"]],
      ["name", "sslrootcert=system", [7, "tls-untrusted"]],
      ["name", "sslmode=verify-ca&sslrootcert=system", [2, "weak-sslmode"]],
      ["name", "sslmode=require&sslrootcert=system", [2, "weak-sslmode"]],
      ["name", "sslmode=verify-full", [2, "no-root-certificate"]],
      ["name", "sslmode=verify-ca", [2, "no-root-certificate"]],
      ["name", `sslmode=verify-ca&sslrootcert=${none}`, [2, "unreadable-certificate"]],
      ["name", `sslmode=prefer&sslrootcert=${none}&sslcert=${none}`, true],
      ["name", `sslmode=require&sslnegotiation=direct`, true],
      ["name", `sslmode=require&${others}`, [7, "tls-own-certificate"]],
      ["name", `sslmode=require&sslcert=${ca}&sslkey=${other.key}`, [2, "unreadable-certificate"]],
      ["name", `sslmode=verify`, [2, "invalid-sslmode"]],
    ] as const) {
      const url = where === "name" ? byName(encrypted) : encrypted.url;
      const connection = { databaseUrl: `${url}?${parameters}`, applicationName: "test" };
      const session = withSession(connection, isEncrypted);
      if (expected === true) assert.equal(await session, true, parameters);
      else await assert.rejects(session, failure(expected[0], expected[1], /./), parameters);
    }
  });

  test("who is refused either way reads nothing of encryption that is wanted", async () => {
    const url = encrypted.url.replace("//postgres:", "//somebody:");
    await assert.rejects(
      withSession({ databaseUrl: url, applicationName: "test" }, isEncrypted),
      failure(7, "login-refused", /refused the login of user "somebody"/),
    );
  });

  test("commands, and the programs that they start, are of one mind", async () => {
    const env = { BACKUP_DIR: join(folder, "backups") };
    const verify = { PGSSLMODE: "verify-full", PGSSLROOTCERT: certificate.ca };
    const home = join(folder, "home");
    await mkdir(join(home, ".postgresql"), { recursive: true });
    await copyFile(certificate.ca, join(home, ".postgresql/root.crt"));
    for (const [url, more, code] of [
      [encrypted.url, {}, 0],
      [plain.url, {}, 0],
      [byName(encrypted), verify, 0],
      [byName(encrypted), { ...verify, PGSSLROOTCERT: other.ca }, 7],
      [byName(encrypted), { PGSSLMODE: "verify-full", HOME: home }, 0],
      [encrypted.url, { PGSSLMODE: "verify-full", HOME: home }, 7],
      [`${plain.url}?ssl=true`, { PGSSLMODE: "disable" }, 7],
      [plain.url, { PGSSLMODE: "require" }, 7],
    ] as const) {
      const result = await pgtenant(["backup"], { url, env: { ...env, ...more } });
      assert.equal(result.code, code, result.stderr);
    }
  });
});
