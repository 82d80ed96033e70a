import { join } from "node:path";
import { type ChildProgram, startProgram } from "../postgres/child-program.ts";
import type { ClientConnection } from "../postgres/client-connection.ts";
import type { ClientProgram, ClientPrograms } from "../postgres/client-programs.ts";

/** Where PostgreSQL's programs are looked for, and what they get of our environment. */
export interface ProgramOptions {
  readonly binDir: string | undefined;
  readonly path: string | undefined;
  readonly environment: Readonly<Record<string, string>>;
}

/** How the programs are run: which, against what, with which variables. */
export interface ProgramContext {
  readonly programs: ClientPrograms;
  readonly connection: ClientConnection;
  /** What the programs get of our own environment. */
  readonly environment: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal | undefined;
}

/** Starts a program on the context's database; the password goes through its environment. */
export function startClient(
  context: ProgramContext,
  program: ClientProgram,
  args: readonly string[],
  stdin: "pipe" | "ignore",
): ChildProgram {
  return startProgram(
    join(context.programs.binDir, program),
    ["--no-password", `--dbname=${context.connection.url}`, ...args],
    {
      env: { ...context.environment, ...context.connection.env },
      stdin,
      signal: context.signal,
    },
  );
}

/** What a program writes to its standard output; it is stopped when nobody reads on. */
export async function* runToEnd(
  context: ProgramContext,
  program: ClientProgram,
  args: readonly string[],
): AsyncGenerator<Uint8Array> {
  const child = startClient(context, program, args, "ignore");
  try {
    for await (const chunk of child.stdout) yield chunk as Uint8Array;
    await child.done;
  } catch (error) {
    // The program's own words tell more than a stream that was closed too early.
    await child.done;
    throw error;
  } finally {
    await child.stop();
  }
}
