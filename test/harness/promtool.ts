import { spawnSync } from "node:child_process";

/** Why metrics cannot be checked here; undefined when they can. */
export function withoutPromtool(): string | undefined {
  const { error } = spawnSync("promtool", ["--version"]);
  return error === undefined ? undefined : "promtool is missing (Debian's package prometheus)";
}

/** What `promtool check metrics` has against a text: its exit code and its words. */
export function checkMetrics(text: string): {
  readonly code: number | null;
  readonly said: string;
} {
  const { status, stdout, stderr } = spawnSync("promtool", ["check", "metrics"], {
    input: text,
    encoding: "utf8",
  });
  return { code: status, said: stdout + stderr };
}
