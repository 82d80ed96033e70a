import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { suite, test } from "node:test";
import fc from "fast-check";
import { shippedTables } from "../../../src/bundle/shipped-schemas.ts";
import { verifyBundle } from "../../../src/bundle/verify.ts";
import { AppError } from "../../../src/errors.ts";
import { stateTables } from "../../../src/tenant/state-tables.ts";
import { timestamp } from "../../../src/tenant/state-values.ts";
import { type ConvertChoice, convertBytes } from "../../harness/convert.ts";
import { inChunks, readWholeBundle, rowsOf } from "../../harness/tenant-bundle.ts";

const text = readFileSync(new URL("../../../fixtures/n-kudo/state.json", import.meta.url), "utf8");
const tenant = "5a7e0000-0000-4000-8000-000000000001";

type Document = Record<string, unknown> & Record<"sites" | "hosts" | "microvms", Row[]>;
type Row = Record<string, unknown>;

/** The fixture without the numbers that JavaScript would round. */
function changed(change: (document: Document) => void): string {
  const document = JSON.parse(text) as Document;
  document.audit_events = null;
  for (const row of document.microvms) row.memory_mib = 1024;
  change(document);
  return JSON.stringify(document, null, 2);
}

const first = (rows: readonly Row[]): Row => rows[0] ?? {};

async function refused(
  document: string | Uint8Array,
  message: RegExp,
  choice: ConvertChoice = {},
): Promise<AppError> {
  const error: unknown = await convertBytes(document, choice).then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof AppError, `not refused: ${message} (${String(error)})`);
  assert.match(error.message, message);
  assert.equal(error.exitCode, error.code === "not-a-document" ? 2 : 3);
  return error;
}

suite("a state document", () => {
  test("is described with every column that the shipped schemas have, in their order", () => {
    const shipped = shippedTables({ name: "n-kudo", version: 1 });
    for (const table of stateTables) {
      const { properties = {} } = shipped.get(table.name) ?? {};
      assert.deepEqual(
        table.columns.map(({ name }) => name),
        Object.keys(properties),
        table.name,
      );
      for (const { name, nullable } of table.columns) {
        assert.equal([properties[name]?.type].flat().includes("null"), nullable, name);
      }
    }
  });

  test("gives the same bundle in chunks of one byte, in another order of keys and without line breaks", async () => {
    const { bytes, result } = await convertBytes(text);
    const small = await convertBytes(text, { chunk: 1 });
    assert.deepEqual(small.bytes, bytes);
    const keys = /^ {2}"(\w+)": ([\s\S]*?),?$(?=\n {2}"|\n\})/gm;
    const members = [...text.matchAll(keys)].map(([, key, value]) => `"${key}":${value}`);
    assert.equal(members.length, 12);
    const turned = await convertBytes(
      `\ufeff{${members.reverse().join(",").replaceAll("\n", "")}}`,
    );
    assert.deepEqual(turned.bytes, bytes);
    assert.equal(result.rows, 9);
    const found = await verifyBundle(inChunks(bytes), { name: "b", maxRowBytes: 1 << 20 });
    assert.equal(found.found, 0);
  });

  test("has its rows sorted by key, its numbers whole, and empty values as NULL", async () => {
    const { bytes } = await convertBytes(text);
    const bundle = await readWholeBundle(bytes);
    const events = bundle.tables.find(({ name }) => name === "public.audit_events")?.lines ?? [];
    assert.deepEqual(
      events.map((line) => /^\{"id":(\d+),/.exec(line)?.[1]),
      ["9007199254740993", "9007199254740994", "9007199254740995"],
    );
    assert.match(events[0] ?? "", /"occurred_at":"2026-01-31T23:59:59\.999999\+00:00"/);
    assert.match(events[1] ?? "", /"source_ip":"10\.1\.2\.3\/8"/);
    const vms = rowsOf(bundle, "public.microvms");
    assert.deepEqual(
      vms.map((row) => row.host_id),
      ["5a7e0000-0000-4000-8000-000000000031", null],
    );
    assert.equal(rowsOf(bundle, "public.sites")[1]?.name, "Rotterdam \u2028 Süd");
  });

  test("whose rows refer to rows that it lacks keeps or drops these references, and counts them", async () => {
    const without = changed((document) => {
      document.hosts = [];
    });
    const kept = await convertBytes(without);
    const [open] = kept.result.references;
    assert.deepEqual(open, {
      table: "public.microvms",
      column: "host_id",
      to: "public.hosts",
      rows: 1,
      nullable: true,
      dropped: false,
    });
    const valid = await verifyBundle(inChunks(kept.bytes), { name: "b", maxRowBytes: 1 << 20 });
    assert.equal(
      valid.found,
      0,
      "references of which the bundle cannot answer are not in its header",
    );
    const dropped = await convertBytes(without, { dropReferences: true });
    const rows = rowsOf(await readWholeBundle(dropped.bytes), "public.microvms");
    assert.ok(rows.every((row) => row.host_id === null));
    const mandatory = await convertBytes(
      changed((document) => {
        document.sites = [];
      }),
      { dropReferences: true },
    );
    assert.deepEqual(
      mandatory.result.references.map(({ column, dropped: gone }) => [column, gone]),
      [
        ["site_id", false],
        ["site_id", false],
      ],
    );
  });

  test("may hold what N-Kudo does not fill in yet: hashes, the tenant itself, plain JSON, later columns", async () => {
    const hash = "d".repeat(64);
    const { bytes, result } = await convertBytes(
      changed((document) => {
        document.tenant = { id: tenant, slug: "kudos", name: "K" };
        document.api_keys = [
          { id: tenant, tenant_id: tenant, name: "ci", key_hash: hash },
          { id: tenant.replace(/1$/, "2"), tenant_id: tenant, name: "old" },
        ];
        document.agents = [{ ID: "x" }];
        document.quotas = { sites: 3 };
        document.note = "text";
        for (const row of document.microvms)
          row.net_ifaces = [{ name: "eth0", mtu: 1450, tags: [] }];
        for (const row of document.sites) row.netbird_network_id = "nb";
        for (const row of document.sites) row.__proto = "x";
        Object.defineProperty(first(document.sites), "__proto__", { value: "x", enumerable: true });
      }),
    );
    const bundle = await readWholeBundle(bytes);
    assert.deepEqual(bundle.header.tenant, { id: tenant, slug: "kudos", name: "K" });
    assert.deepEqual(
      rowsOf(bundle, "public.api_keys").map((row) => row.key_hash),
      [hash],
    );
    assert.equal(rowsOf(bundle, "public.sites")[0]?.netbird_network_id, "nb");
    assert.equal(
      rowsOf(bundle, "public.microvms")[0]?.net_ifaces,
      '[{"name":"eth0","mtu":1450,"tags":[]}]',
    );
    const reasons = JSON.stringify(result.leftOut);
    assert.match(reasons, /1 element\(s\), in a form that N-Kudo does not write/);
    assert.match(
      reasons,
      /"public\.sites\.__proto__","reason":"1 row\(s\): the profile knows no such column"/,
    );
    assert.match(result.warnings.join("\n"), /nothing was taken from the document's "quotas"/);
    assert.match(result.warnings.join("\n"), /nothing was taken from the document's "note"/);
  });

  test("whose events have no hashes leaves the links out and says so", async () => {
    const { bytes, result } = await convertBytes(
      text
        .replace(/"prev_hash": "\w+",/g, '"prev_hash": "",')
        .replace(/"entry_hash": "\w+"/g, '"entry_hash": ""'),
    );
    const bundle = await readWholeBundle(bytes);
    const events = bundle.header.tables.find(({ name }) => name === "public.audit_events");
    assert.equal(events?.chain, undefined);
    assert.equal(
      events?.columns.some(({ name }) => /hash|chain/.test(name)),
      false,
    );
    assert.match(
      JSON.stringify(result.leftOut),
      /"public\.audit_events\.prev_hash","reason":"[^"]*the links of the hash chain cannot be rebuilt"/,
    );
  });

  test("that is none is refused with its place", async () => {
    await refused("", /"state\.json" is empty/);
    await refused("[]", /is an array, and no state document/);
    await refused("7", /is a single value, and no state document/);
    await refused("{}", /is no state document: it has no "version"/);
    await refused('{"$bundle":{"format":1}}\n{}', /is a bundle already/);
    await refused(
      text.replace('"1.0"', '"2.0"'),
      /version "2\.0", and only "1\.0" can be converted/,
    );
    await refused(text.replace('"1.0"', "1.0"), /version "1\.0", and only/);
    await refused(
      changed((d) => delete d.tenant_id),
      /it has no "tenant_id"/,
    );
    await refused(
      changed((d) => delete d.exported_at),
      /it has no "exported_at"/,
    );
    await refused(
      changed((d) => Object.assign(d, { exported_at: "yesterday" })),
      /exported_at is no time/,
    );
    await refused(
      changed((d) => Object.assign(d, { tenant_id: {} })),
      /tenant_id is an object or array/,
    );
    await refused(
      changed((d) => Object.assign(d, { sites: [], hosts: [], microvms: null })),
      /holds no row that can be restored/,
    );
    await refused(Buffer.from([0x7b, 0x22, 0xff, 0x22]), /is not UTF-8, at or after line 1/);
    await refused(`${text}x`, /is not valid JSON/);
    await refused(
      text.replace('"kvm_available": true', '"kvm_available": yes'),
      /is not valid JSON at line 52, after hosts\[0\]\.storage_bytes_total/,
    );
  });

  test("with values, keys or rows that do not fit is refused with their place", async () => {
    const site = (change: (row: Row) => void) => changed((d) => change(first(d.sites)));
    const vm = (change: (row: Row) => void) => changed((d) => change(first(d.microvms)));
    await refused(
      site((row) => Object.assign(row, { name: 7 })),
      /sites\[0\]\.name is a number, and not text/,
    );
    await refused(
      site((row) => delete row.name),
      /sites\[0\] has no "name"/,
    );
    await refused(
      site((row) => Object.assign(row, { name: "a\0" })),
      /sites\[0\]\.name has a NUL/,
    );
    await refused(
      site((row) => Object.assign(row, { id: "x" })),
      /sites\[0\]\.id is no UUID/,
    );
    await refused(
      site((row) => Object.assign(row, { created_at: "2026-02-30T00:00:00Z" })),
      /sites\[0\]\.created_at is no time/,
    );
    await refused(
      site((row) => delete row.created_at),
      /sites\[0\] has no "created_at", which other rows have/,
    );
    await refused(
      site((row) => Object.assign(row, { tenant_id: row.id })),
      /sites\[0\] is another tenant's than tenant_id says/,
    );
    await refused(
      changed((d) => Object.assign(d, { tenant_id: first(d.sites).id })),
      /sites\[0\] is another tenant's than tenant_id says/,
    );
    await refused(
      site((row) => Object.assign(row, { location_country_code: "DEU" })),
      /"location_country_code" must NOT have more than 2 characters/,
    );
    await refused(
      vm((row) => Object.assign(row, { vcpu_count: 2 ** 31 })),
      /microvms\[0\]\.vcpu_count is no integer of the column's size/,
    );
    await refused(
      vm((row) => Object.assign(row, { vcpu_count: 1.5 })),
      /vcpu_count is no integer/,
    );
    await refused(
      text.replace("9223372036854775807", "9223372036854775808"),
      /memory_mib is no integer/,
    );
    await refused(
      vm((row) => Object.assign(row, { state: "ON" })),
      /"state" is none of the allowed values/,
    );
    await refused(
      vm((row) => Object.assign(row, { net_ifaces: "{" })),
      /net_ifaces holds no JSON/,
    );
    await refused(
      text.replace('"e30="', '"e30"'),
      /audit_events\[1\]\.metadata_json holds no JSON/,
    );
    await refused(text.replace("10.1.2.3/8", "10.1.2.3/33"), /source_ip is no network address/);
    await refused(
      text.replace('"ber-1"', '"\\ud800"'),
      /hosts\[0\]\.hostname has half of a surrogate pair/,
    );
    await refused(
      changed((d) => d.sites.push({ ...first(d.sites) })),
      /two rows of sites have the same id: row 1 and row 3/,
    );
    await refused(text.replace('"plans": null', '"sites": null'), /sites stands there twice/);
    await refused(
      text.replace('"external_key": "BER-1"', '"name": "x"'),
      /sites\[1\]\.name stands there twice/,
    );
    await refused(
      changed((d) => Object.assign(d, { sites: {} })),
      /sites is an object, and no array/,
    );
    await refused(
      changed((d) => Object.assign(d, { sites: "x" })),
      /sites is text, and no array/,
    );
    await refused(
      changed((d) => Object.assign(d, { sites: [7] })),
      /sites\[0\] is a number, and no row/,
    );
    await refused(
      changed((d) => Object.assign(d, { sites: [[]] })),
      /sites\[0\] is an array, and no row/,
    );
  });

  test("that is hostile stays within bounds", async () => {
    const deep = "[".repeat(100_000);
    await refused(
      text.replace('"plans": null', `"plans": ${deep}`),
      /plans is nested more than 64 deep/,
    );
    await refused(
      text.replace('"ber-1"', `{"a":${deep}`),
      /hosts\[0\]\.hostname is nested more than 64 deep/,
    );
    const long = "x".repeat(2000);
    await refused(text.replace('"plans"', `"${long}"`), /has a key of more than 1000 characters/);
    const limit = { maxRowBytes: 1024 };
    await refused(
      text.replace('"ber-1"', `"${long}"`),
      /hosts\[0\]\.hostname is longer than 1024 bytes/,
      limit,
    );
    await refused(
      text.replace('"ber-1"', `[${"1,".repeat(2000)}1]`),
      /hosts\[0\]\.hostname is longer than 1024 bytes/,
      limit,
    );
    const many = Array.from({ length: 3000 }, (_, i) => `"k${i}":1`).join(",");
    await refused(text.replace('"hostname": "ber-1"', many), /is one key too many for a row/);
    // What nobody reads is passed over, however much of it there is.
    const { result } = await convertBytes(
      text.replace(
        '"plans": null',
        `"other": [${`{"${"k".repeat(900)}":"${long}"},`.repeat(500)}1]`,
      ),
      limit,
    );
    assert.match(result.warnings.join("\n"), /"other" \(501 elements\)/);
  });

  test("that is cut anywhere is refused as incomplete or invalid", async () => {
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: text.length - 3 }), async (length) => {
        await refused(text.slice(0, length), /is incomplete: it ends|is not valid JSON/);
      }),
      { numRuns: 20 },
    );
  });
});

suite("times of a state document", () => {
  const printed = (value: string) => {
    const converted = timestamp(value);
    return "json" in converted ? converted.json : "problem";
  };

  test("are printed as PostgreSQL prints them in UTC", () => {
    for (const [given, wanted] of [
      ["2024-02-29T23:59:59Z", '"2024-02-29T23:59:59+00:00"'],
      ["2024-02-29T23:59:59.120Z", '"2024-02-29T23:59:59.12+00:00"'],
      ["2024-03-01T01:30:00.000001+02:00", '"2024-02-29T23:30:00.000001+00:00"'],
      ["2023-12-31T22:00:00-03:30", '"2024-01-01T01:30:00+00:00"'],
      ["0099-01-01T00:00:00Z", '"0099-01-01T00:00:00+00:00"'],
      ["9999-12-31T23:59:59.999999999Z", '"9999-12-31T23:59:59.999999+00:00"'],
      ["0001-01-01T00:00:00Z", undefined],
      ["2024-02-30T00:00:00Z", "problem"],
      ["2024-02-29 23:59:59Z", "problem"],
      ["2024-02-29T23:59:59", "problem"],
      ["2024-02-29T24:00:00Z", "problem"],
      ["9999-12-31T23:59:59-01:00", "problem"],
      ["0000-12-31T23:59:59Z", "problem"],
    ] as const) {
      assert.equal(printed(given), wanted, given);
    }
    assert.deepEqual(timestamp("2024-01-01T00:00:00.1234567Z"), {
      json: '"2024-01-01T00:00:00.123456+00:00"',
      cut: true,
    });
  });
});
