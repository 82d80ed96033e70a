import assert from "node:assert/strict";
import { createServer, request } from "node:http";
import { type AddressInfo, connect, createServer as createNetServer } from "node:net";
import { after, before, suite, test } from "node:test";
import type { AppError } from "../../../src/errors.ts";
import { isSession, namesLoopback, sessionFor } from "../../../src/service/access.ts";
import { type HttpServer, startHttp } from "../../../src/service/http.ts";
import { readinessOf } from "../../../src/service/readiness.ts";
import { checkMetrics, withoutPromtool } from "../../harness/promtool.ts";
import { stateOf } from "../../harness/status-states.ts";

const token = "a token of enough characters";
const warnings: string[] = [];
let broken = false;

const options = {
  host: "127.0.0.1",
  port: 0,
  token: undefined,
  status: {
    read: async () => {
      if (broken) throw new Error("the secret of the stack");
      return stateOf("good");
    },
  },
  ready: async () => true,
  warn: (text: string) => void warnings.push(text),
} as const;

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

/** fetch does not let one choose the Host header. */
async function ask(
  url: string,
  headers: Readonly<Record<string, string>> = {},
  method = "GET",
  body = "",
): Promise<Answer> {
  return await new Promise((resolve, reject) => {
    const sent = request(url, { headers, method, agent: false }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (piece: string) => {
        text += piece;
      });
      response.on("end", () =>
        resolve({ status: response.statusCode ?? 0, headers: response.headers, text }),
      );
    });
    sent.on("error", reject).end(body);
  });
}

suite("status over HTTP", () => {
  let open: HttpServer;
  let guarded: HttpServer;
  before(async () => {
    open = await startHttp(options);
    guarded = await startHttp({ ...options, token });
  });
  after(async () => {
    await open.close();
    await guarded.close();
  });

  test("serves page, metrics, JSON and health, none of them to be kept, framed or scripted", async () => {
    const types = {
      "/": /^text\/html/,
      "/metrics": /^text\/plain; version=0\.0\.4/,
      "/api/status": /^application\/json/,
      "/healthz": /^text\/plain/,
      "/readyz": /^text\/plain/,
    };
    for (const [path, type] of Object.entries(types)) {
      const { status, headers } = await ask(open.url + path);
      assert.equal(status, 200, path);
      assert.match(String(headers["content-type"]), type);
      const policy = String(headers["content-security-policy"]);
      assert.match(policy, /default-src 'none'/);
      assert.match(policy, /script-src 'sha256-[^ ]+';/);
      assert.match(policy, /frame-ancestors 'none'/);
      assert.doesNotMatch(policy, /unsafe/);
      assert.equal(headers["x-frame-options"], "DENY");
      assert.equal(headers["referrer-policy"], "no-referrer");
      assert.equal(headers["x-content-type-options"], "nosniff");
      assert.equal(headers["cache-control"], "no-store");
    }
    const { text } = await ask(`${open.url}/api/status`);
    assert.equal((JSON.parse(text) as { promise: { state: string } }).promise.state, "kept");
    const page = (await ask(open.url)).text;
    assert.doesNotMatch(page, /(src|href)="(https?:)?\/\//, "nothing comes from elsewhere");
    assert.doesNotMatch(page, / style=| on\w+=/);
  });

  test("the real /metrics passes promtool", { skip: withoutPromtool() ?? false }, async () => {
    const { text } = await ask(`${open.url}/metrics`);
    assert.deepEqual(checkMetrics(text), { code: 0, said: "" });
  });

  test("changes nothing by any method", async () => {
    for (const method of ["POST", "PUT", "DELETE", "PATCH"]) {
      for (const path of ["/", "/metrics", "/api/status", "/healthz"]) {
        const { status, headers } = await ask(open.url + path, {}, method);
        assert.deepEqual([status, headers.allow], [405, "GET, HEAD"], `${method} ${path}`);
      }
    }
    assert.equal((await ask(`${open.url}/backup`, {}, "POST")).status, 404);
    assert.equal((await ask(`${open.url}/../etc/passwd`)).status, 404);
    assert.equal((await ask(open.url, {}, "HEAD")).status, 200);
  });

  test("without a token answers to this machine's own names only", async () => {
    for (const host of [
      "localhost",
      "localhost:8080",
      "127.0.0.1:9187",
      "[::1]:9187",
      "127.1.2.3",
    ]) {
      assert.equal((await ask(open.url, { host })).status, 200, host);
    }
    for (const host of ["evil.example", "localhost.evil.example", "10.0.0.1", "127.0.0.1.nip.io"]) {
      for (const path of ["/", "/metrics", "/api/status"]) {
        const { status, text } = await ask(open.url + path, { host });
        assert.equal(status, 403, host);
        assert.doesNotMatch(text, /nkudo/);
      }
    }
    assert.equal(namesLoopback(undefined), false);
    assert.equal(namesLoopback(""), false);
  });

  test("with a token gives nothing without it, health and readiness aside", async () => {
    for (const path of ["/", "/metrics", "/api/status", "/nothing"]) {
      const { status, headers, text } = await ask(guarded.url + path);
      assert.equal(status, 401, path);
      assert.equal(headers["www-authenticate"], 'Bearer realm="pgtenant"');
      assert.equal(text, "a token is needed\n");
      assert.equal(headers["x-frame-options"], "DENY");
    }
    for (const given of ["wrong", `${token}x`, token.slice(0, -1), ""]) {
      const { status } = await ask(guarded.url, { authorization: `Bearer ${given}` });
      assert.equal(status, 401);
    }
    assert.equal((await ask(`${guarded.url}/?token=${encodeURIComponent(token)}`)).status, 401);
    assert.equal((await ask(`${guarded.url}/healthz`)).text, "ok\n");
    assert.equal((await ask(`${guarded.url}/readyz`)).text, "ready\n");
  });

  test("takes the token as a bearer's, or once by a form for a cookie that is not the token", async () => {
    const plain = "0123456789abcdef0123456789abcdef";
    const server = await startHttp({ ...options, token: plain });
    try {
      const bearer = { authorization: `Bearer ${plain}`, host: "backups.example.org" };
      assert.equal((await ask(`${server.url}/metrics`, bearer)).status, 200);
      const browser = { accept: "text/html" };
      const sent = await ask(server.url, browser);
      assert.deepEqual([sent.status, sent.headers.location], [303, "/login"]);
      const form = { "content-type": "application/x-www-form-urlencoded" };
      const wrong = await ask(`${server.url}/login`, form, "POST", "token=wrong");
      assert.deepEqual([wrong.status, wrong.headers["set-cookie"]], [401, undefined]);
      const right = await ask(`${server.url}/login`, form, "POST", `token=${plain}`);
      assert.deepEqual([right.status, right.headers.location], [303, "/"]);
      const [cookie = ""] = right.headers["set-cookie"] ?? [];
      assert.match(
        cookie,
        /^pgtenant_session=[^;]+; Max-Age=43200; Path=\/; HttpOnly; SameSite=Lax/,
      );
      assert.ok(!cookie.includes(plain));
      const [pair = ""] = cookie.split(";");
      assert.equal((await ask(server.url, { ...browser, cookie: pair })).status, 200);
      const forged = pair.replace(/=(\d+)\./, (_, until: string) => `=${Number(until) + 1}.`);
      assert.equal((await ask(`${server.url}/metrics`, { cookie: forged })).status, 401);
      const large = await ask(`${server.url}/login`, form, "POST", `token=${"x".repeat(10_000)}`);
      assert.equal(large.status, 413);
    } finally {
      await server.close();
    }
    const session = sessionFor(token, new Date("2026-01-01T00:00:00Z"));
    assert.equal(isSession(session, token, new Date("2026-01-01T11:59:00Z")), true);
    assert.equal(isSession(session, token, new Date("2026-01-01T12:01:00Z")), false);
    assert.equal(isSession(session, `${token}!`, new Date("2026-01-01T00:00:00Z")), false);
  });

  test("does not listen where others can reach it without a token", async () => {
    for (const host of ["0.0.0.0", "::", "192.168.1.5", "backups.internal"]) {
      await assert.rejects(startHttp({ ...options, host }), (error: AppError) => {
        assert.deepEqual([error.code, error.exitCode], ["token-required", 2]);
        assert.match(error.message, /^others can reach the address ".+:0", and no token is set$/);
        assert.match(error.hint ?? "", /PGTENANT_HTTP_TOKEN/);
        return true;
      });
    }
    const everywhere = await startHttp({ ...options, host: "0.0.0.0", token });
    await everywhere.close();
  });

  test("names an address that is taken", async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, "127.0.0.1", resolve));
    const { port } = taken.address() as AddressInfo;
    await assert.rejects(startHttp({ ...options, port }), (error: AppError) => {
      assert.equal(error.exitCode, 2);
      assert.equal(
        error.message,
        `the address "127.0.0.1:${port}" cannot be listened on: it is in use`,
      );
      return true;
    });
    taken.close();
  });

  test("tells nothing of a defect but to the log", async () => {
    broken = true;
    try {
      for (const path of ["/", "/metrics", "/api/status"]) {
        const { status, text, headers } = await ask(open.url + path);
        assert.equal(status, 500);
        assert.equal(text, "internal error; the log of the service says more\n");
        assert.equal(headers["x-frame-options"], "DENY");
      }
      assert.match(warnings.join(), /GET \/metrics has failed: the secret of the stack/);
    } finally {
      broken = false;
    }
  });

  test("is not ready while the database is silent or the folder is missing its place, within 2 s", async () => {
    const silent = createNetServer((socket) => socket.on("error", () => undefined));
    await new Promise<void>((resolve) => silent.listen(0, "127.0.0.1", resolve));
    const { port } = silent.address() as AddressInfo;
    const begun = performance.now();
    const url = `postgres://u:p@127.0.0.1:${port}/nkudo`;
    assert.equal(await readinessOf({ databaseUrl: url }, "/tmp")(), false);
    assert.ok(performance.now() - begun < 20_000);
    silent.close();
    const server = await startHttp({ ...options, ready: async () => false });
    const { status, text } = await ask(`${server.url}/readyz`);
    assert.deepEqual([status, text], [503, "not ready\n"]);
    await server.close();
  });

  test("closes although somebody keeps a connection open", async () => {
    const server = await startHttp(options);
    const socket = connect(Number(new URL(server.url).port), "127.0.0.1");
    socket.on("error", () => undefined);
    socket.write("GET / HTTP/1.1\r\n");
    await new Promise((resolve) => setTimeout(resolve, 50));
    const begun = performance.now();
    await server.close();
    assert.ok(performance.now() - begun < 20_000);
    socket.destroy();
  });
});
