import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { resolveConfig } from "../../../src/config/config.ts";
import { jobEnvironment } from "../../../src/config/job-environment.ts";

suite("the environment of the service's jobs", () => {
  test("has what flags gave to the service, instead of the variable and its file", () => {
    const environment = { DATABASE_URL_FILE: "/nowhere", PATH: "/bin", BACKUP_DIR: "/b" };
    const url = "postgres://u:secret@host/db";
    const config = resolveConfig({ databaseUrl: url, profile: "/p.json" }, environment);
    assert.deepEqual(jobEnvironment(config, environment), {
      PATH: "/bin",
      BACKUP_DIR: "/b",
      DATABASE_URL: url,
      PGTENANT_PROFILE: "/p.json",
    });
  });

  test("leaves notices to the service, and a URL where it stands", () => {
    const environment = {
      DATABASE_URL: "postgres://u@host/db",
      BACKUP_ON_SUCCESS_URL: "https://a.example/1",
      BACKUP_ON_FAILURE_URL_FILE: "",
      BACKUP_ON_FAILURE_COMMAND: "true",
    };
    const config = resolveConfig({}, environment);
    assert.deepEqual(jobEnvironment(config, environment), {
      DATABASE_URL: "postgres://u@host/db",
      PGTENANT_PROFILE: "n-kudo",
    });
  });
});
