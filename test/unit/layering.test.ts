import assert from "node:assert/strict";
import { glob, readFile } from "node:fs/promises";
import { posix } from "node:path";
import { suite, test } from "node:test";
import { fileURLToPath } from "node:url";

/** The layers that the README lists: a file imports from its own layer and from those below it. */
const layers = [
  ["main.ts"],
  ["cli"],
  ["service"],
  ["tenant"],
  ["backup"],
  ["journal"],
  ["storage"],
  ["bundle"],
  ["profile"],
  ["catalog"],
  ["postgres"],
  ["config"],
  ["errors.ts", "finding.ts", "logger.ts", "progress.ts", "version.ts"],
];

/** What a command file leaves to the operation that it calls: SQL and files. */
const notInCli = /^(pg|pg-copy-streams|kysely|(node:)?fs(\/promises)?)$/;

/** What is wrong with a source file; `file` is its path below src, with slashes. */
function findings(file: string, source: string): string[] {
  const found: string[] = [];
  const layer = layerOf(file);
  if (layer === undefined)
    found.push(`src/${file} belongs to no layer; see the layers in README.md`);

  const code = withoutComments(source);
  for (const specifier of importsOf(code)) {
    const names = `src/${file} imports "${specifier}"`;
    if (specifier.startsWith(".")) {
      const target = posix.join(posix.dirname(file), specifier);
      // Outside src are only data and package.json, which are at the bottom of everything.
      const below = target.startsWith("../") ? layers.length : layerOf(target);
      if (below === undefined) found.push(`${names}, which belongs to no layer`);
      else if (layer !== undefined && below < layer) found.push(`${names}, which is a layer above`);
    } else if (file.startsWith("cli/") && notInCli.test(specifier)) {
      found.push(`${names}: cli/ has no SQL and no files, call an operation`);
    }
  }
  if (!file.startsWith("config/") && /\bprocess\s*\??\.\s*env\b|\bprocess\["env"\]/.test(code)) {
    found.push(`src/${file} reads process.env, which only config/ may`);
  }
  if (/import\s*\{[^}]*\b(env|exit|exitCode)\b[^}]*\}\s*from\s*"(node:)?process"/.test(code)) {
    found.push(`src/${file} imports parts of "node:process", which this test cannot follow`);
  }
  if (file !== "main.ts" && /\bprocess\s*\??\.\s*(exit|exitCode|reallyExit)\b/.test(code)) {
    found.push(`src/${file} sets the exit code or exits, which only main.ts may`);
  }
  return found;
}

function layerOf(file: string): number | undefined {
  const [top = ""] = file.split("/");
  const index = layers.findIndex((names) => names.includes(top));
  return index === -1 ? undefined : index;
}

/** Static and dynamic imports, and exports from elsewhere. */
function importsOf(code: string): string[] {
  const patterns = [
    /^\s*(?:import|export)\b[^;"'`]*?\bfrom\s*["']([^"']+)["']/gm,
    /^\s*import\s*["']([^"']+)["']/gm,
    /\bimport\s*\(\s*["'`]([^"'`]+)["'`]/g,
  ];
  return patterns.flatMap((pattern) => [...code.matchAll(pattern)].map((match) => match[1] ?? ""));
}

/** Strings are matched too, so that a `//` in them is not taken for a comment. */
function withoutComments(source: string): string {
  const stringOrComment =
    /("(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`)|\/\*[\s\S]*?\*\/|\/\/.*/g;
  return source.replaceAll(stringOrComment, (_, literal: string | undefined) => literal ?? " ");
}

suite("layering", () => {
  test("imports in src point down the list of layers only", async () => {
    const src = fileURLToPath(new URL("../../src/", import.meta.url));
    const files = (await Array.fromAsync(glob("**/*.ts", { cwd: src }))).sort();
    assert.ok(files.includes("errors.ts"), "the sources are where this test looks for them");
    const found: string[] = [];
    for (const file of files) {
      found.push(...findings(file.replaceAll("\\", "/"), await readFile(src + file, "utf8")));
    }
    assert.deepEqual(found, []);
  });

  test("an import of a layer above is found, in every form of import", () => {
    const forms = [
      'import { a } from "../tenant/plan.ts";',
      'import type { A } from "../tenant/plan.ts";',
      'import {\n  a,\n  type B,\n} from "../tenant/plan.ts";',
      'export { a } from "../tenant/plan.ts";',
      'export * from "../tenant/plan.ts";',
      'import "../tenant/plan.ts";',
      'const { a } = await import("../tenant/plan.ts");',
    ];
    for (const source of forms) {
      assert.deepEqual(
        findings("catalog/read-catalog.ts", source),
        ['src/catalog/read-catalog.ts imports "../tenant/plan.ts", which is a layer above'],
        source,
      );
    }
  });

  test("an import of the same layer, of one below, of data and of packages is allowed", () => {
    const source = `
      import { a } from "./ownership.ts";
      import { b } from "../postgres/connect.ts";
      import { c } from "../errors.ts";
      import { Kysely } from "kysely";
      import schema from "../../schemas/header.json" with { type: "json" };
      // import { no } from "../tenant/plan.ts";
      /* await import("../cli/root.ts"), process.env, process.exit() */
      const url = "https://example.org"; const text = 'see // process';`;
    assert.deepEqual(findings("catalog/read-catalog.ts", source), []);
  });

  test("a file or an import outside of the layers is found", () => {
    assert.deepEqual(findings("utils/text.ts", ""), [
      "src/utils/text.ts belongs to no layer; see the layers in README.md",
    ]);
    assert.deepEqual(findings("cli/export.ts", 'import { a } from "../utils/text.ts";'), [
      'src/cli/export.ts imports "../utils/text.ts", which belongs to no layer',
    ]);
  });

  test("SQL and files in cli are found", () => {
    for (const name of ["pg", "pg-copy-streams", "kysely", "fs", "node:fs", "node:fs/promises"]) {
      const source = `import { a } from "${name}";`;
      assert.equal(findings("cli/export.ts", source).length, 1, name);
      assert.deepEqual(findings("tenant/export.ts", source), [], name);
    }
  });

  test("process.env is for config alone, the exit code for main.ts", () => {
    const forms = ["process.env.PATH", 'process["env"]', 'import { env } from "node:process";'];
    for (const source of forms) {
      assert.equal(findings("tenant/export.ts", source).length, 1, source);
    }
    assert.deepEqual(findings("config/read.ts", "process.env.PATH"), []);
    for (const source of ["process.exitCode = 3", "process.exit(1)"]) {
      assert.equal(findings("cli/export.ts", source).length, 1, source);
      assert.deepEqual(findings("main.ts", source), [], source);
    }
  });
});
