import { once } from "node:events";
import type { ArgumentsCamelCase } from "yargs";
import { ExitCode } from "../errors.ts";
import type { Stores } from "../storage/open-stores.ts";
import { type Context, defineCommand, type GlobalArguments } from "./command.ts";
import { usage } from "./options.ts";
import { type PlaceArguments, placesOf, withPlaceOptions } from "./place-options.ts";

interface StatusArguments extends GlobalArguments, PlaceArguments {
  check: boolean;
  serve: boolean;
}

/** Nobody looks at a page that is being loaded meanwhile. */
const patienceMs = 15_000;

export const statusCommand = defineCommand<StatusArguments>({
  usage: "status",
  summary: "say whether the promise holds now: newest backup, measured restore, last proof",
  options: (yargs) =>
    withPlaceOptions(yargs)
      .option("check", {
        type: "boolean",
        default: false,
        describe: "exit 9 when the promise is broken, not known, or there is no backup",
      })
      .option("serve", {
        type: "boolean",
        default: false,
        describe: "serve the status page and the metrics at PGTENANT_HTTP_LISTEN until it is ended",
      }),
  examples: [
    ["pgtenant status", "the promise, what is wrong, and what to do"],
    ["pgtenant status --check --quiet", "for a monitor that looks at exit codes"],
    ["pgtenant status --serve", "page and metrics, where cron or Kubernetes runs the backups"],
  ],
  exitCodes: [ExitCode.different],
  async run(args, context) {
    if (args.check && args.serve) {
      throw usage("--check and --serve are both given", "Give one of them.");
    }
    const { openStores } = await import("../storage/open-stores.ts");
    const places = placesOf(args, context.config);
    const stores = await openStores(places);
    try {
      return args.serve
        ? await serve(places.directory, stores, context)
        : await tell(args, places.directory, stores, context);
    } finally {
      await stores.close();
    }
  },
});

async function tell(
  { check }: ArgumentsCamelCase<StatusArguments>,
  folder: string,
  stores: Stores,
  { config, output }: Context,
): Promise<ExitCode> {
  const { statusReaderOf } = await import("../service/serve-status.ts");
  const { statusText } = await import("./render/status.ts");
  const status = await statusReaderOf(config, { folder, stores: stores.all, patienceMs }).read();
  const held = status.promise.state === "kept" || status.promise.state === "unproven";
  const exitCode = check && !held ? ExitCode.different : ExitCode.done;
  output.text(statusText(status));
  output.result({ ...status, exitCode });
  return exitCode;
}

async function serve(
  folder: string,
  stores: Stores,
  { config, output, signal }: Context,
): Promise<ExitCode> {
  const { serveStatus } = await import("../service/serve-status.ts");
  const warn = (text: string) => output.warn(text);
  const server = await serveStatus(config, { folder, stores: stores.all }, warn);
  if (server === undefined) {
    throw usage(
      "--serve is given, and PGTENANT_HTTP_LISTEN is off",
      "Set it to an address and a port, such as 127.0.0.1:9187.",
    );
  }
  output.text(`serving the status at ${server.url}`);
  if (!signal.aborted) await once(signal, "abort");
  await server.close();
  return ExitCode.done;
}
