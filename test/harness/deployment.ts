import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Environment, resolveConfig } from "../../src/config/config.ts";

/** The path of a file of the project. */
export function placeOf(path: string): string {
  return fileURLToPath(new URL(`../../${path}`, import.meta.url));
}

export function readProject(path: string): string {
  return readFileSync(placeOf(path), "utf8");
}

export interface Ran {
  readonly code: number | null;
  readonly said: string;
}

export function run(program: string, args: readonly string[], environment: Environment = {}): Ran {
  const { status, stdout, stderr } = spawnSync(program, args, {
    encoding: "utf8",
    env: { PATH: process.env.PATH, HOME: "/nonexistent", ...environment },
  });
  return { code: status, said: `${stdout ?? ""}${stderr ?? ""}` };
}

/** Why a program cannot be used here; undefined when it can. */
export function without(program: string, debian: string, args = ["--version"]): string | undefined {
  return run(program, args).code === 0
    ? undefined
    : `${program} is missing (Debian's package ${debian})`;
}

/** Where the places of secrets are when something runs: of compose, of Kubernetes, of systemd. */
const secretPlaces = /^(\/run\/secrets\/|%d\/)/;

/**
 * What the program has against an environment that a deployment gives it: names that it does not
 * know, values that it cannot use. Files of secrets are stood in for.
 */
export function wrongInEnvironment(environment: Environment): readonly string[] {
  const folder = mkdtempSync(join(tmpdir(), "pgtenant-test-"));
  try {
    const secret = join(folder, "secret");
    writeFileSync(secret, "postgres://user:a-long-enough-secret@localhost/nkudo\n");
    const given = Object.entries(environment).map(([name, value]) => [
      name,
      secretPlaces.test(value ?? "") ? secret : value,
    ]);
    return resolveConfig({}, Object.fromEntries(given)).warnings;
  } catch (error) {
    return [error instanceof Error ? error.message : String(error)];
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Names that are not ours, and mean something where the program runs. */
const others =
  /^(AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY|SHARED_CREDENTIALS_FILE)|NODE_ENV|JOB_COMPLETION_INDEX)$/;

/** The names among these that neither the program knows nor what it stands upon. */
export function strangeNames(names: Iterable<string>, known: readonly string[]): readonly string[] {
  return [...names].filter((name) => !known.includes(name) && !others.test(name));
}

export interface Instruction {
  readonly word: string;
  readonly rest: string;
}

/** The instructions of a Dockerfile, continued lines joined. */
export function instructionsOf(dockerfile: string): readonly Instruction[] {
  return dockerfile
    .replace(/^\s*#.*\n/gm, "")
    .replace(/\\\n/g, " ")
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => {
      const [, word = "", rest = ""] = /^\s*(\w+)\s+(.*)$/.exec(line) ?? [];
      return { word, rest: rest.trim() };
    });
}
