import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { resolveConfig } from "../../../src/config/config.ts";

let folder: string;
before(() => {
  folder = mkdtempSync(join(tmpdir(), "pgtenant-test-"));
});
after(() => rmSync(folder, { recursive: true }));

function file(name: string, content: string): string {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
}

suite("the configuration", () => {
  test("has the guide's defaults when nothing is given", () => {
    assert.deepEqual(resolveConfig({}, {}), {
      databaseUrl: "postgres://postgres:postgres@localhost:5432/nkudo",
      databaseUrlFrom: "default",
      profile: "n-kudo",
      acceptUnclassified: false,
      backup: {
        directory: "/var/backups/n-kudo",
        schedule: "0 2 * * *",
        retentionDays: 30,
        retentionDaysByDefault: true,
        compress: true,
        encrypt: false,
        encryptionKey: undefined,
        s3Bucket: undefined,
        s3Prefix: undefined,
        s3Endpoint: undefined,
        s3Region: undefined,
        timeoutMinutes: 60,
        format: "plain",
        compression: undefined,
        encryption: undefined,
        recipients: [],
        identityFiles: [],
        includePaths: [],
        keep: {
          last: undefined,
          daily: undefined,
          weekly: undefined,
          monthly: undefined,
          yearly: undefined,
        },
        tempDirectory: undefined,
      },
      service: {
        timezone: "UTC",
        tenantSchedule: undefined,
        verifySchedule: undefined,
        drillSchedule: undefined,
        drillEmbedded: false,
        tenants: undefined,
        rpoHours: 24,
        rtoHours: 4,
        onSuccess: { url: undefined, command: undefined },
        onFailure: { url: undefined, command: undefined },
        metricsFile: undefined,
        http: { host: "127.0.0.1", port: 9187 },
        httpToken: undefined,
      },
      pgBin: undefined,
      pooler: "refuse",
      searchPath: undefined,
      programEnvironment: {},
      secrets: [],
      warnings: [],
    });
  });

  test("has libpq's variables for TLS in the URL, unless it says otherwise itself", () => {
    const urlOf = (databaseUrl: string, environment: Readonly<Record<string, string>>) =>
      resolveConfig({ databaseUrl }, environment).databaseUrl;
    const variables = { PGSSLMODE: "verify-full", PGSSLROOTCERT: "/etc/my ca.crt" };
    assert.equal(
      urlOf("postgres://u@h/db", variables),
      "postgres://u@h/db?sslmode=verify-full&sslrootcert=%2Fetc%2Fmy%20ca.crt",
    );
    assert.equal(
      urlOf("postgres://u@h/db?sslmode=require", { PGSSLMODE: "disable", PGSSLKEY: "" }),
      "postgres://u@h/db?sslmode=require",
    );
    assert.equal(
      urlOf("postgres://u@h/db?ssl=true", { PGSSLMODE: "prefer" }),
      "postgres://u@h/db?ssl=true&sslmode=require",
    );
    assert.equal(urlOf("not a url", variables), "not a url");
  });

  test("prefers a flag to the environment, and the environment to a default", () => {
    const environment = { DATABASE_URL: "postgres://env/a", PGTENANT_PROFILE: "env.json" };
    const fromEnvironment = resolveConfig({}, environment);
    assert.equal(fromEnvironment.databaseUrl, "postgres://env/a");
    assert.equal(fromEnvironment.databaseUrlFrom, "environment");
    assert.equal(fromEnvironment.profile, "env.json");
    const fromFlags = resolveConfig(
      { databaseUrl: "postgres://flag/b", profile: "flag.json", acceptUnclassified: true },
      environment,
    );
    assert.equal(fromFlags.databaseUrl, "postgres://flag/b");
    assert.equal(fromFlags.databaseUrlFrom, "flag");
    assert.equal(fromFlags.profile, "flag.json");
    assert.equal(fromFlags.acceptUnclassified, true);
  });

  test("takes every variable of the guide, spaces and spellings of true included", () => {
    const { backup } = resolveConfig(
      {},
      {
        BACKUP_DIR: "/b",
        BACKUP_SCHEDULE: "*/5 1-3 * * mon,fri",
        BACKUP_RETENTION_DAYS: " 7 ",
        BACKUP_COMPRESS: "No",
        BACKUP_ENCRYPT: "1",
        BACKUP_ENCRYPTION_KEY: "a passphrase",
        BACKUP_S3_BUCKET: "bucket",
        BACKUP_S3_PREFIX: "p/",
        BACKUP_S3_ENDPOINT: "https://s3.example:9000",
        BACKUP_TIMEOUT_MINUTES: "5",
      },
    );
    assert.deepEqual(backup, {
      ...resolveConfig({}, {}).backup,
      directory: "/b",
      schedule: "*/5 1-3 * * mon,fri",
      retentionDays: 7,
      retentionDaysByDefault: false,
      compress: false,
      encrypt: true,
      encryptionKey: "a passphrase",
      s3Bucket: "bucket",
      s3Prefix: "p/",
      s3Endpoint: "https://s3.example:9000",
      timeoutMinutes: 5,
    });
  });

  test("takes our own variables, lists with commas and spaces", () => {
    const { backup } = resolveConfig(
      {},
      {
        BACKUP_FORMAT: "directory",
        BACKUP_COMPRESSION: "zstd",
        BACKUP_ENCRYPTION: "age",
        BACKUP_RECIPIENTS: "age1a, age1b\tage1c,,",
        BACKUP_IDENTITY_FILE: "/keys/new identity, /keys/old",
        BACKUP_INCLUDE_PATHS: "/etc/n-kudo,/var/lib/n kudo/pki",
        BACKUP_S3_REGION: "eu-central-1",
        BACKUP_KEEP_LAST: "3",
        BACKUP_KEEP_DAILY: "7",
        BACKUP_KEEP_WEEKLY: "4",
        BACKUP_KEEP_MONTHLY: "12",
        BACKUP_KEEP_YEARLY: " 1 ",
        BACKUP_TEMP_DIR: "/scratch",
      },
    );
    assert.deepEqual(backup, {
      ...resolveConfig({}, {}).backup,
      format: "directory",
      compression: "zstd",
      encryption: "age",
      recipients: ["age1a", "age1b", "age1c"],
      identityFiles: ["/keys/new identity", "/keys/old"],
      includePaths: ["/etc/n-kudo", "/var/lib/n kudo/pki"],
      s3Region: "eu-central-1",
      keep: { last: 3, daily: 7, weekly: 4, monthly: 12, yearly: 1 },
      tempDirectory: "/scratch",
    });
  });

  test("has AWS's own region where ours is not set", () => {
    const region = (environment: Record<string, string>) =>
      resolveConfig({}, environment).backup.s3Region;
    assert.equal(region({ AWS_REGION: "us-west-2" }), "us-west-2");
    assert.equal(region({ AWS_REGION: "us-west-2", BACKUP_S3_REGION: "eu-west-1" }), "eu-west-1");
  });

  test("cannot be changed", () => {
    const config = resolveConfig({}, {});
    assert.ok(Object.isFrozen(config));
    assert.ok(Object.isFrozen(config.backup));
  });

  test("has no place for a value that does not parse: exit 2, with the form and the default", () => {
    const wrong: readonly (readonly [name: string, value: string, hint: string])[] = [
      ["BACKUP_SCHEDULE", "daily", "a cron expression of five fields, such as 0 2 * * *"],
      ["BACKUP_RETENTION_DAYS", "30d", "a whole number of days, at least 1"],
      ["BACKUP_RETENTION_DAYS", "0", "a whole number of days, at least 1"],
      ["BACKUP_RETENTION_DAYS", "-1", "a whole number of days, at least 1"],
      ["BACKUP_COMPRESS", "ture", "true or false"],
      ["BACKUP_ENCRYPT", "constructor", "true or false"],
      ["BACKUP_S3_ENDPOINT", "s3.example", "a URL that begins with http:// or https://"],
      ["BACKUP_TIMEOUT_MINUTES", "1.5", "a whole number of minutes, at least 1"],
      ["BACKUP_ENCRYPTION", "true", "age or openssl"],
      ["BACKUP_COMPRESSION", "true", "gzip, zstd or none"],
      ["BACKUP_FORMAT", "tar", "plain, custom or directory"],
      ["BACKUP_KEEP_DAILY", "0", "a whole number, at least 1"],
    ];
    for (const [name, value, form] of wrong) {
      assert.throws(
        () => resolveConfig({}, { [name]: value }),
        (error: { code: string; exitCode: number; message: string; hint: string }) => {
          assert.equal(error.code, "invalid-variable");
          assert.equal(error.exitCode, 2);
          assert.equal(
            error.message,
            `the environment variable ${name} has a value that cannot be used: "${value}"`,
          );
          assert.ok(error.hint.startsWith(`It must be ${form}`), error.hint);
          return true;
        },
      );
    }
    assert.throws(() => resolveConfig({}, { BACKUP_ENCRYPT: "ja" }), {
      hint: "It must be true or false; without the variable it is false.",
    });
  });

  test("does not take an empty value for a default, only for the absence of what may be absent", () => {
    assert.throws(() => resolveConfig({}, { BACKUP_RETENTION_DAYS: "" }), {
      exitCode: 2,
      message: "the environment variable BACKUP_RETENTION_DAYS is empty",
    });
    const { backup, pgBin } = resolveConfig(
      {},
      { BACKUP_S3_BUCKET: "", BACKUP_ENCRYPTION_KEY: "", PGTENANT_PG_BIN: "" },
    );
    assert.deepEqual(
      [backup.s3Bucket, backup.encryptionKey, pgBin],
      [undefined, undefined, undefined],
    );
  });
});

suite("a secret's file", () => {
  test("gives the value, without the line end of an editor", () => {
    const config = resolveConfig(
      {},
      {
        DATABASE_URL_FILE: file("url", "postgres://me:from-the-file@host/db\n"),
        BACKUP_ENCRYPTION_KEY_FILE: file("key", " a key with spaces \r\n"),
      },
    );
    assert.equal(config.databaseUrl, "postgres://me:from-the-file@host/db");
    assert.equal(config.databaseUrlFrom, "environment");
    assert.equal(config.backup.encryptionKey, " a key with spaces ");
    assert.ok(config.secrets.includes("from-the-file"));
    assert.ok(config.secrets.includes(" a key with spaces "));
  });

  test("stands in nobody's way when it is not asked for", () => {
    const missing = join(folder, "missing");
    assert.throws(() => resolveConfig({}, { DATABASE_URL_FILE: missing }), {
      code: "unreadable-secret",
      exitCode: 2,
      message: `the file "${missing}" that DATABASE_URL_FILE names cannot be read`,
      hint: "Check its path, owner and mode.",
    });
    resolveConfig({ databaseUrl: "postgres://flag/db" }, { DATABASE_URL_FILE: missing });
    resolveConfig({}, { DATABASE_URL_FILE: "" });
  });

  test("is an error beside the variable itself, and when it is empty", () => {
    const url = file("other", "postgres://file/db");
    assert.throws(
      () => resolveConfig({}, { DATABASE_URL: "postgres://env/db", DATABASE_URL_FILE: url }),
      {
        code: "ambiguous-variable",
        exitCode: 2,
        message: "DATABASE_URL and DATABASE_URL_FILE are both set",
      },
    );
    assert.throws(() => resolveConfig({}, { BACKUP_ENCRYPTION_KEY_FILE: file("empty", "\n") }), {
      code: "invalid-variable",
      exitCode: 2,
      message: "the file that BACKUP_ENCRYPTION_KEY_FILE names is empty",
    });
  });
});

suite("a password", () => {
  test("on the command line is worth a warning, wherever it stands in the URL", () => {
    const warned = (databaseUrl: string) => resolveConfig({ databaseUrl }, {}).warnings.length;
    assert.equal(warned("postgres://me:hunter22@host/db"), 1);
    assert.equal(warned("postgres://me:me@host/db"), 1);
    assert.equal(warned("postgres://host/db?user=me&password=hunter22"), 1);
    assert.equal(warned("postgres://me@host/db"), 0);
    assert.match(
      resolveConfig({ databaseUrl: "postgres://me:x@host/db" }, {}).warnings[0] ?? "",
      /^a password on the command line can be seen .*; use DATABASE_URL or DATABASE_URL_FILE$/,
    );
    assert.deepEqual(resolveConfig({}, { DATABASE_URL: "postgres://me:x@host/db" }).warnings, []);
  });

  test("counts as a secret, from the URL and from PGPASSWORD", () => {
    const { secrets } = resolveConfig(
      {},
      { DATABASE_URL: "postgres://me:s%40crets@host/db", PGPASSWORD: 'with "quotes"' },
    );
    for (const form of ["s@crets", "s%40crets", 'with "quotes"', 'with \\"quotes\\"']) {
      assert.ok(secrets.includes(form), form);
    }
  });
});
