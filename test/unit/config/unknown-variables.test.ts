import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { resolveConfig } from "../../../src/config/config.ts";
import { unknownVariables } from "../../../src/config/unknown-variables.ts";
import { knownNames } from "../../../src/config/variables.ts";

suite("a variable with one of our prefixes", () => {
  test("that looks like a known one is an error which names it: exit 2", () => {
    const meant: Readonly<Record<string, string>> = {
      BACKUP_ENCRYPTED: "BACKUP_ENCRYPT",
      BACKUP_ENCYRPT: "BACKUP_ENCRYPT",
      backup_encrypt: "BACKUP_ENCRYPT",
      BACKUP_ENCRYPTION_KEYS: "BACKUP_ENCRYPTION_KEY",
      BACKUP_ENCRYPTION_KEY_FIL: "BACKUP_ENCRYPTION_KEY_FILE",
      BACKUP_DIRS: "BACKUP_DIR",
      BACKUP_RETENTION: "BACKUP_RETENTION_DAYS",
      BACKUP_RETENTION_DAY: "BACKUP_RETENTION_DAYS",
      BACKUP_COMPRES: "BACKUP_COMPRESS",
      BACKUP_S3: "BACKUP_S3_BUCKET",
      BACKUP_S3_BUKET: "BACKUP_S3_BUCKET",
      BACKUP_TIMEOUT: "BACKUP_TIMEOUT_MINUTES",
      BACKUP_PROFILE: "PGTENANT_PROFILE",
      PGTENANT_PROFIL: "PGTENANT_PROFILE",
      PGTENANT_PGBIN: "PGTENANT_PG_BIN",
      PGTENANT_DATABASE_URL: "DATABASE_URL",
      PGTENANT_BACKUP_DIR: "BACKUP_DIR",
    };
    for (const [name, near] of Object.entries(meant)) {
      assert.throws(
        () => unknownVariables([name]),
        {
          code: "unknown-variable",
          exitCode: 2,
          message: `the environment variable ${name} is unknown; it looks like ${near}`,
          hint: `Rename it to ${near}, or unset ${name}.`,
        },
        name,
      );
    }
  });

  test("that looks like none is named in a warning, such as what Kubernetes injects", () => {
    const injected = [
      "BACKUP_SERVICE_HOST",
      "BACKUP_SERVICE_PORT",
      "BACKUP_PORT",
      "BACKUP_PORT_80_TCP",
      "BACKUP_PORT_80_TCP_PROTO",
      "PGTENANT_PORT",
      "PGTENANT_SERVICE_HOST",
      "BACKUP_S3_PORT",
    ];
    assert.deepEqual(unknownVariables(injected), injected.toSorted());
    assert.deepEqual(resolveConfig({}, { PGTENANT_PORT: "tcp://10.0.0.1:80" }).warnings, [
      "the environment variable PGTENANT_PORT is unknown and has no effect",
    ]);
  });

  test("that is known, and one with another prefix, is nobody's business", () => {
    assert.deepEqual(unknownVariables(knownNames), []);
    assert.deepEqual(unknownVariables(["PATH", "DATABASE_URI", "MY_BACKUP_DIR", "BACKUPDIR"]), []);
  });

  test("counts only while it is set", () => {
    assert.deepEqual(resolveConfig({}, { BACKUP_DIRS: undefined }).warnings, []);
    assert.throws(() => resolveConfig({}, { BACKUP_DIRS: "" }), { code: "unknown-variable" });
  });
});
