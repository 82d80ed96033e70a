import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { importText, nextAfterPlan, planText } from "../../../../src/cli/render/plan.ts";
import type { ImportPlan, TablePlan } from "../../../../src/tenant/import-types.ts";

function tablePlan(table: string, changes: Partial<TablePlan>): TablePlan {
  const none = { insert: 0, update: 0, relink: 0, delete: 0, unchanged: 0, keep: 0 };
  return { table, inBundle: 0, ...none, ...changes };
}

function planOf(tables: readonly TablePlan[], changes: Partial<ImportPlan> = {}): ImportPlan {
  return {
    tenant: { id: "1", slug: "acme", name: "Acme Corporation" },
    mode: "missing",
    hash: "0123456789abcdef0123",
    tables,
    sequences: [],
    notes: [],
    leftOut: [],
    warnings: [],
    ...changes,
  };
}

const insertion = tablePlan("public.sites", { inBundle: 1200, insert: 1200 });
const alike = tablePlan("public.users", { inBundle: 3, unchanged: 3 });

suite("a plan for people", () => {
  test("says how many rows are chosen where there is a selection", () => {
    const chosen = { ...insertion, chosen: 12, insert: 12 };
    assert.match(
      planText(planOf([chosen])),
      / table +in bundle +chosen +insert\n +public.sites +1,200 +12 +12\n/,
    );
    const done = { ...alike, chosen: 3 };
    const result = {
      plan: planOf([done]),
      applied: false,
      rowsInBundle: 99,
      receipt: null,
      seconds: 1,
    };
    assert.equal(
      importText(result, false),
      "nothing to do: all 3 chosen rows of the bundle are there (1.0 s)",
    );
  });

  test("has a line for each table that changes, a sum, and the others in one line", () => {
    const plan = planOf([
      tablePlan("public.tenants", { inBundle: 1, unchanged: 1 }),
      insertion,
      tablePlan("public.crl_entries", { inBundle: 6, relink: 2, unchanged: 4 }),
      tablePlan("public.users", { inBundle: 4, unchanged: 3, keep: 1 }),
    ]);
    assert.deepEqual(planText(plan).split("\n"), [
      'plan for tenant "acme" (Acme Corporation), mode missing:',
      "",
      "  table               in bundle  insert  relink  unchanged",
      "  public.sites            1,200   1,200       -          -",
      "  public.crl_entries          6       -       2          4",
      "  total                   1,206   1,200       2          4",
      "",
      "  unchanged: 4 rows of 2 other tables; 1 row that differs stays as it is",
      "",
      "hash of this plan: 0123456789abcdef0123",
      "",
    ]);
  });

  test("tells sequences, notes and what is left out", () => {
    const plan = planOf([insertion], {
      tenant: { id: "42", slug: null, name: null },
      mode: "replace",
      sequences: [{ sequence: "public.sites_id_seq", from: "7", to: "42" }],
      notes: [
        { kind: "append-only", table: "public.a", row: "(id)=(1)", reason: "stays" },
        { kind: "credentials", table: "public.b", reason: "3 come back" },
      ],
      leftOut: [
        { column: "public.a.c", reason: "generated" },
        { table: "public.scratch", reason: "--leave-out" },
      ],
    });
    assert.deepEqual(planText(plan).split("\n"), [
      'plan for tenant "42", mode replace:',
      "",
      "  table         in bundle  insert",
      "  public.sites      1,200   1,200",
      "  total             1,200   1,200",
      "",
      "sequences are moved on, never back:",
      "  public.sites_id_seq: 7 -> 42",
      "",
      "please note:",
      "  public.b: 3 come back",
      "  public.a (id)=(1): stays",
      "",
      "left out: column public.a.c (generated)",
      "left out: table public.scratch (--leave-out)",
      "",
      "hash of this plan: 0123456789abcdef0123",
      "",
    ]);
  });

  test("shows fifty notes and says how many more there are", () => {
    const notes = Array.from({ length: 52 }, (_, n) => ({
      kind: "kept" as const,
      table: "public.a",
      row: `(id)=(${n})`,
      reason: "kept",
    }));
    const lines = planText(planOf([insertion], { notes })).split("\n");
    assert.equal(lines.filter((line) => line.startsWith("  public.a ")).length, 50);
    assert.equal(lines.at(-4), "  … and 2 more");
  });

  test("says so when nothing changes", () => {
    const kept = tablePlan("public.sites", { inBundle: 5, unchanged: 3, keep: 2 });
    assert.equal(
      planText(planOf([alike, kept])).split("\n")[2],
      "  nothing: the 6 rows of 2 tables are as the bundle has them; 2 rows that differ stay as they are",
    );
  });
});

suite("the result of an import", () => {
  const all = tablePlan("public.sites", { insert: 1, update: 2, relink: 3, delete: 1000 });
  const result = (tables: readonly TablePlan[], applied: boolean) => ({
    plan: planOf(tables),
    applied,
    rowsInBundle: 3,
    receipt: null,
    seconds: 1.23,
  });

  test("does not say that all rows are there when some stay out", () => {
    const none = result([alike], false);
    const note = { kind: "skipped", table: "public.users", row: "(id)=(4)", reason: "x" } as const;
    assert.equal(
      importText({ ...none, plan: { ...none.plan, notes: [note] } }, false),
      "nothing to do: what the bundle holds is there, or stays out as noted above (1.2 s)",
    );
  });

  test("says what was done, or what would be", () => {
    const changes = "1 row inserted, 2 rows updated, 3 rows linked again, 1,000 rows deleted";
    assert.equal(importText(result([all], true), false), `done in 1.2 s, committed: ${changes}`);
    assert.equal(
      importText(result([all], false), true),
      `dry run, nothing was written; it would be: ${changes} (planned in 1.2 s)`,
    );
    assert.equal(
      importText(result([alike], false), false),
      "nothing to do: all 3 rows of the bundle are there (1.2 s)",
    );
  });

  test("ends a dry run with the command that applies it, to be pasted into a shell", () => {
    const flags = ["--mode", "replace", "--set", "public.a.b=it's"];
    assert.equal(
      nextAfterPlan(result([all], false), "my bundle.jsonl", flags),
      "to apply it: pgtenant import 'my bundle.jsonl' --mode replace --set 'public.a.b=it'\\''s' --plan 0123456789abcdef0123 --yes",
    );
    assert.equal(
      nextAfterPlan(result([insertion], false), "a.jsonl", []),
      "to apply it: pgtenant import a.jsonl --plan 0123456789abcdef0123",
    );
    assert.equal(nextAfterPlan(result([alike], false), "a.jsonl", []), "");
  });
});
