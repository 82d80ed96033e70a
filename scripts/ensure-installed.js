// Installs the dependencies if they are missing or differ from package-lock.json; otherwise it
// does nothing and prints nothing. Every npm script runs it first. It must run on whatever node
// the machine has (18 or newer), hence plain JavaScript without imports from npm: the scripts
// themselves then find Node 24 in node_modules/.bin, which npm puts first in PATH.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

/**
 * @typedef {{ version?: string, integrity?: string, optional?: boolean }} LockedPackage
 * @param {string} file
 * @returns {Record<string, LockedPackage> | undefined}
 */
function readPackages(file) {
  try {
    return JSON.parse(readFileSync(root + file, "utf8")).packages;
  } catch {
    return undefined;
  }
}

/**
 * Why an install is needed, or undefined. Packages beyond the locked ones don't count: npm writes
 * node_modules before the lock file, so they may be another run's install in progress. Optional
 * packages may be absent, as those for other platforms are.
 * @returns {string | undefined}
 */
function reasonToInstall() {
  const installed = readPackages("node_modules/.package-lock.json");
  if (installed === undefined) return "node_modules is missing";
  if (!existsSync(`${root}node_modules/.bin/node`)) return "node_modules/.bin/node is missing";
  const locked = readPackages("package-lock.json") ?? {};
  for (const [place, want] of Object.entries(locked)) {
    if (place === "") continue;
    const have = installed[place];
    if (have === undefined) {
      if (!want.optional) return `${place} is missing`;
    } else if (have.version !== want.version || have.integrity !== want.integrity) {
      return `${place} is not version ${want.version}`;
    }
  }
  return undefined;
}

const reason = reasonToInstall();
if (reason !== undefined) {
  // All of it to stderr: the standard output belongs to the script that follows.
  process.stderr.write(`${reason}: installing dependencies with npm ci\n`);
  const flags = ["ci", "--include=dev", "--no-audit", "--no-fund", "--loglevel=error"];
  // Inside an npm script these two name the npm that runs it, and the node that it runs on.
  const { npm_node_execpath: node, npm_execpath: npm } = process.env;
  const [command, args] = node && npm ? [node, [npm, ...flags]] : ["npm", flags];
  const result = spawnSync(command, args, { cwd: root, stdio: ["ignore", "ignore", "inherit"] });
  if (result.error) process.stderr.write(`npm ci could not be started: ${result.error.message}\n`);
  process.exitCode = result.status ?? 1;
}
