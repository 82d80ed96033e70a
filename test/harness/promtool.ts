import { spawnSync } from "node:child_process";

/** Why metrics cannot be checked here; undefined when they can. */
export function withoutPromtool(): string | undefined {
  const { error } = spawnSync("promtool", ["--version"]);
  return error === undefined ? undefined : "promtool is missing (Debian's package prometheus)";
}

export interface PromtoolResult {
  readonly code: number | null;
  readonly said: string;
}

/** Runs promtool: its exit code and its words. */
export function promtool(args: readonly string[], input?: string): PromtoolResult {
  const { status, stdout, stderr } = spawnSync("promtool", args, { input, encoding: "utf8" });
  return { code: status, said: stdout + stderr };
}

/** What `promtool check metrics` has against a text. */
export function checkMetrics(text: string): PromtoolResult {
  return promtool(["check", "metrics"], text);
}

const aggregation = /\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)/g;
const keywords = new Set(["and", "or", "unless", "bool", "offset", "inf", "nan"]);

/** The metrics that an expression of PromQL asks for: its names that are no function's. */
export function metricsIn(expression: string): readonly string[] {
  const bare = expression
    .replace(/"(?:\\.|[^"\\])*"/g, "")
    .replace(/\{[^}]*\}|\[[^\]]*\]/g, "")
    .replace(aggregation, "");
  const names = bare.match(/(?<![\w.])[a-zA-Z_:][\w:]*\b(?!\s*\()/g) ?? [];
  return [...new Set(names.filter((name) => !keywords.has(name.toLowerCase())))];
}
