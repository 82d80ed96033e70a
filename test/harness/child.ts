import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";

export type Child = ChildProcessByStdio<null, Readable, null>;

/** Starts a script of this folder with a node of its own. */
export function startScript(name: string, args: readonly string[]): Child {
  const path = fileURLToPath(new URL(name, import.meta.url));
  return spawn(process.execPath, [path, ...args], { stdio: ["ignore", "pipe", "inherit"] });
}

/** Waits until it has printed a line, and gives everything that it has printed by then. */
export async function untilPrinted(child: Child, line: string): Promise<string> {
  let printed = "";
  child.stdout.setEncoding("utf8");
  for await (const chunk of child.stdout.iterator({ destroyOnReturn: false })) {
    printed += String(chunk);
    if (printed.split("\n").includes(line)) return printed;
  }
  throw new Error(`the script ended without printing "${line}": ${printed}`);
}

/** Runs a script to its end, and gives what it printed. */
export async function outputOf(name: string, args: readonly string[]): Promise<string> {
  const child = startScript(name, args);
  const [printed] = await Promise.all([text(child.stdout), once(child, "close")]);
  return printed;
}

export async function killHard(child: Child): Promise<void> {
  const ended = once(child, "exit");
  child.kill("SIGKILL");
  await ended;
}
