#!/usr/bin/env node
// Everything else is loaded when it is needed, so that --version answers at once.
import { toolVersion } from "./version.ts";

const urlPattern = /postgres(?:ql)?:\/\/\S+/gi;
/** After the first signal, what runs gets this long to undo itself. */
const patienceMs = 10_000;
/** And this long to be read, since the reader of a pipe may never come. */
const lastWordsMs = 500;

const argv = process.argv.slice(2);
const urls = argv.flatMap((argument) => argument.match(urlPattern) ?? []);
// The options that give a secret; `-k` of some commands are days, which does no harm here.
const secretOption = /^(--database-?url|--k(ey)?(=|$)|-[a-z]*k)/i;
// Replaces our command line in /proc, before anything that takes time.
if (urls.length > 0 || argv.some((argument) => secretOption.test(argument))) {
  process.title = "pgtenant";
}

// The one thing worth answering without loading the command line's parser.
if (argv.length === 1 && argv[0] === "--version") process.stdout.write(`${toolVersion}\n`);
else await run();

async function run(): Promise<void> {
  const { AppError, ExitCode } = await import("./errors.ts");
  const { keysOnCommandLine, secretsOfUrl, writtenForms } = await import("./config/secrets.ts");
  const { Output } = await import("./cli/output.ts");
  const output = new Output(argv.includes("--json"), argv.includes("--quiet"));
  output.hide(urls.flatMap(secretsOfUrl));
  output.hide(keysOnCommandLine(argv).flatMap((key) => writtenForms(key)));
  const stop = new AbortController();
  const interruption = { meaning: "nothing was written" };
  let deadline: NodeJS.Timeout | undefined;
  let signalled = false;
  const interrupt = () => {
    stop.abort();
    deadline = setTimeout(() => process.exit(ExitCode.interrupted), patienceMs);
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      if (signalled) process.exit(ExitCode.interrupted);
      signalled = true;
      if (!stop.signal.aborted) interrupt();
    });
  }
  // The service that has started us wants us to end, or is gone. That is no signal: where one was
  // sent to us both, ours may come after it.
  const released = () => {
    if (!stop.signal.aborted) interrupt();
  };
  if (process.connected === false) released();
  else process.on("disconnect", released);
  process.channel?.unref(); // to listen is no reason to stay
  const interrupted = (cause: unknown) =>
    new AppError("interrupted", ExitCode.interrupted, `interrupted: ${interruption.meaning}`, {
      cause,
    });
  const failed = async (error: unknown) => {
    const { reportError } = await import("./cli/report-error.ts");
    process.exitCode = reportError(output, stop.signal.aborted ? interrupted(error) : error);
  };
  process.on("uncaughtException", (error) => {
    void failed(error).finally(() => process.exit());
  });
  try {
    requireWorkingFolder(AppError, ExitCode.usage);
    const { runCommandLine } = await import("./cli/root.ts");
    process.exitCode = await runCommandLine(argv, { output, signal: stop.signal, interruption });
  } catch (error) {
    await failed(error);
  }
  if (stop.signal.aborted) setTimeout(() => process.exit(), lastWordsMs);
  await output.end();
  if (output.closed && process.exitCode === ExitCode.done) process.exitCode = ExitCode.storage;
  clearTimeout(deadline);
  // What was cut short may have left a socket or a reader open that would keep us waiting.
  if (stop.signal.aborted) process.exit();
}

/** Node itself cannot say where it is, and ends with a stack, where the folder was removed meanwhile. */
function requireWorkingFolder(
  AppError: typeof import("./errors.ts").AppError,
  exitCode: import("./errors.ts").ExitCode,
): void {
  try {
    process.cwd();
  } catch (cause) {
    throw new AppError("no-working-folder", exitCode, "the working folder is not there any more", {
      hint: "Change to one that is there, such as cd /, then run the command again.",
      cause,
    });
  }
}
