import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, readFile, rm, stat } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import type { ServiceStatus } from "../../src/service/service-status.ts";
import { pgtenant, spawnPgtenant } from "../harness/command.ts";
import { createDatabase, type TestDatabase } from "../harness/database.ts";
import { checkMetrics, withoutPromtool } from "../harness/promtool.ts";
import { onServer } from "../harness/server-databases.ts";

const role = `status_keeper_${process.pid}`;
const secrets = {
  password: `Zq7!p@s/s:w%rd "'\\ &<#>?=+ü{}`,
  passphrase: `Corr3ct-hörse 'battery' "<staple>" & more`,
  token: "T0ken of the page, <long> & secret",
  success: "https://ping.example/succ3ss-path-s3cret",
  failure: "https://ping.example/fa1lure-path-s3cret?key=<s3cret>",
  s3Secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
  s3Token: "IQoJb3JpZ2luX2VjEPz//////////wEaCXVzLWVhc3QtMSJH==",
} as const;

suite("status and metrics of real runs", () => {
  let database: TestDatabase;
  let root = "";
  let url = "";
  let env: Readonly<Record<string, string>> = {};
  let metricsFile = "";
  const hidden: string[] = [];
  // An S3 server that repeats what it was given.
  const gossip = createServer((request, response) => {
    const { authorization = "", "x-amz-security-token": token = "" } = request.headers;
    request.resume();
    response.writeHead(400, { "content-type": "application/xml" });
    response.end(
      `<Error><Code>InvalidArgument</Code><Message>${token} ${secrets.s3Secret} ${authorization}</Message></Error>`,
    );
  });

  before(async () => {
    root = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    metricsFile = join(root, "pgtenant.prom");
    database = await createDatabase("status", "empty");
    await database.query("CREATE TABLE t AS SELECT g FROM generate_series(1, 100) g");
    const quoted = secrets.password.replaceAll("'", "''");
    await onServer(`CREATE ROLE ${role} LOGIN SUPERUSER PASSWORD '${quoted}'`);
    url = database.url.replace(/\/\/[^@]+@/, `//${role}:${encodeURIComponent(secrets.password)}@`);
    gossip.listen(0, "127.0.0.1");
    await once(gossip, "listening");
    env = {
      BACKUP_DIR: join(root, "backups"),
      BACKUP_ENCRYPTION_KEY: secrets.passphrase,
      BACKUP_ON_SUCCESS_URL: secrets.success,
      BACKUP_ON_FAILURE_URL: secrets.failure,
      PGTENANT_HTTP_TOKEN: secrets.token,
      PGTENANT_HTTP_LISTEN: "127.0.0.1:0",
      PGTENANT_METRICS_FILE: metricsFile,
      AWS_ACCESS_KEY_ID: "AKIAIOSFODNN7EXAMPLE",
      AWS_SECRET_ACCESS_KEY: secrets.s3Secret,
      AWS_SESSION_TOKEN: secrets.s3Token,
    };
    for (const secret of Object.values(secrets)) {
      const inHtml = secret
        .replaceAll("&", "&amp;")
        .replaceAll("<", "&lt;")
        .replaceAll(">", "&gt;")
        .replaceAll('"', "&quot;")
        .replaceAll("'", "&#39;");
      const forms = [
        secret,
        encodeURIComponent(secret),
        JSON.stringify(secret).slice(1, -1),
        inHtml,
      ];
      hidden.push(...forms);
    }
    hidden.push("s3cret", "Zq7!p@s");
  });

  after(async () => {
    gossip.close();
    await database.drop();
    await onServer(`DROP ROLE ${role}`);
    await rm(root, { recursive: true });
  });

  function withoutSecrets(text: string, what: string): string {
    for (const secret of hidden) assert.ok(!text.includes(secret), `${what} shows "${secret}"`);
    return text;
  }

  const metrics = async () => withoutSecrets(await readFile(metricsFile, "utf8"), "the file");

  test("before the first backup there is none, which --check tells by exit 9", async () => {
    const { code, stdout } = await pgtenant(["status", "--check"], { url, env });
    assert.equal(code, 9);
    assert.match(stdout.toString(), /^There is no backup yet\.\n/);
    assert.match(stdout.toString(), /what to do: Run pgtenant backup\.\n$/);
    assert.equal((await pgtenant(["status"], { url, env })).code, 0);
    await assert.rejects(stat(metricsFile), "only runs leave metrics");
  });

  test("a run leaves its metrics, and a run that S3 fails leaves them too", async () => {
    const done = await pgtenant(["backup", "--encrypt"], { url, env });
    assert.equal(done.code, 0, done.stderr);
    const first = await metrics();
    assert.match(first, /^backup_last_success_timestamp [1-9]\d{9}(\.\d+)?$/m);
    assert.match(first, /^backup_file_size_bytes [1-9]\d+$/m);
    assert.match(first, /^pgtenant_operations_total\{operation="backup",result="done"\} 1$/m);
    assert.equal((await stat(metricsFile)).mode & 0o777, 0o644);
    const { port } = gossip.address() as AddressInfo;
    const s3 = {
      ...env,
      BACKUP_S3_BUCKET: "gossip",
      BACKUP_S3_ENDPOINT: `http://127.0.0.1:${port}`,
    };
    const failed = await pgtenant(["backup", "--encrypt"], { url, env: s3 });
    assert.equal(failed.code, 8, failed.stderr);
    const second = await metrics();
    assert.match(second, /^pgtenant_s3_failures_total 1$/m);
    assert.match(second, /^pgtenant_place_reachable\{place="s3:\/\/gossip"\} 0$/m);
    const verified = await pgtenant(["verify", "latest"], { url, env });
    assert.equal(verified.code, 0, verified.stderr);
    const third = await metrics();
    assert.match(third, /^pgtenant_last_verified_timestamp_seconds [1-9]/m);
    if (withoutPromtool() === undefined) {
      assert.deepEqual(checkMetrics(third), { code: 0, said: "" });
    }
  });

  test("metrics that cannot be written are a warning, and the run is what it was", async () => {
    const lost = { ...env, PGTENANT_METRICS_FILE: join(root, "no", "such.prom") };
    const { code, stderr } = await pgtenant(["prune", "-k", "30"], { url, env: lost });
    assert.equal(code, 0, stderr);
    assert.match(stderr, /^warning: the metrics were not written: .*no\/such\.prom/m);
  });

  test("status tells the same as text and as JSON", async () => {
    const { code, stdout, stderr } = await pgtenant(["status", "--json"], { url, env });
    assert.equal(code, 0);
    const status = JSON.parse(stdout.toString()) as ServiceStatus & { exitCode: number };
    assert.equal(status.promise.state, "unproven");
    assert.equal(status.database, database.name);
    assert.equal(status.exitCode, 0);
    assert.deepEqual([status.backups.length, status.backups[0]?.encrypted], [2, true]);
    assert.equal(status.backups[0]?.proof?.kind, "all");
    assert.equal(status.journal.intact, true);
    assert.match(stderr, /^Backups are on time, but that they restore is not proved\.$/m);
    assert.match(stderr, /place +state +backups/);
  });

  test("--serve shows page, metrics and JSON to who has the token, and ends well by SIGTERM", async () => {
    const { port } = gossip.address() as AddressInfo;
    const s3 = { BACKUP_S3_BUCKET: "gossip", BACKUP_S3_ENDPOINT: `http://127.0.0.1:${port}` };
    const child = spawnPgtenant(["status", "--serve"], { url, env: { ...env, ...s3 } });
    let said = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      said += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      said += text;
    });
    while (!said.includes("\n")) await once(child.stdout, "data");
    const [, served = ""] = /^serving the status at (\S+)$/m.exec(said) ?? [];
    assert.match(served, /^http:\/\/127\.0\.0\.1:\d+$/);
    const authorization = `Bearer ${secrets.token}`;
    for (const path of ["/", "/metrics", "/api/status"]) {
      assert.equal((await fetch(served + path)).status, 401);
      const response = await fetch(served + path, { headers: { authorization } });
      const text = await response.text();
      assert.equal(response.status, 200, text);
      withoutSecrets(text, path);
      const named = path === "/metrics" ? /backup_last_success_timestamp/ : /s3:\/\/gossip/;
      assert.match(text, named);
    }
    // It gives the database two seconds, which a busy machine may take.
    const readiness = async () => (await fetch(`${served}/readyz`)).text();
    for (let tries = 0; (await readiness()) !== "ready\n"; tries += 1) assert.ok(tries < 10);
    child.kill("SIGTERM");
    const [code] = (await once(child, "close")) as [number];
    assert.equal(code, 0, said);
    withoutSecrets(said, "the output");
  });

  test("--serve refuses an address that others can reach without a token", async () => {
    const { PGTENANT_HTTP_TOKEN: _, ...without } = env;
    const { code, stderr } = await pgtenant(["status", "--serve"], {
      url,
      env: { ...without, PGTENANT_HTTP_LISTEN: "0.0.0.0:0" },
    });
    assert.equal(code, 2);
    assert.match(stderr, /others can reach the address "0\.0\.0\.0:0", and no token is set/);
    assert.match(stderr, /hint: Set PGTENANT_HTTP_TOKEN or/);
  });
});
