import { spawnSync } from "node:child_process";

/** Debian's own, whatever other one comes first in PATH: PyYAML is there where yamllint is. */
const python = "/usr/bin/python3";
const script = `
import json, sys, yaml
json.dump([d for d in yaml.safe_load_all(sys.stdin) if d is not None], sys.stdout, default=str)
`;

/** Why YAML cannot be read here; undefined when it can. */
export function withoutYaml(): string | undefined {
  const { status } = spawnSync(python, ["-c", "import yaml"]);
  return status === 0 ? undefined : "PyYAML is missing (Debian's package python3-yaml)";
}

/**
 * The documents of a YAML text, as PyYAML reads them.
 *
 * @throws Error for what is no YAML, with PyYAML's words
 */
export function parseYaml(text: string): unknown[] {
  const { status, stdout, stderr } = spawnSync(python, ["-c", script], {
    input: text,
    encoding: "utf8",
    maxBuffer: 64 << 20,
  });
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as unknown[];
}
