import { ExitCode } from "../errors.ts";
import { defineCommand } from "./command.ts";

export const demoCommand = defineCommand({
  usage: "demo",
  summary: "lose a tenant and get it back, on a throwaway PostgreSQL; touches nothing of yours",
  options: (yargs) => yargs,
  examples: [
    ["pgtenant demo", "needs no database and no settings"],
    ["PGTENANT_PG_BIN=/usr/lib/postgresql/17/bin pgtenant demo", "with this PostgreSQL"],
  ],
  exitCodes: [ExitCode.database],
  async run(_args, context) {
    const { runDemo } = await import("../tenant/demo.ts");
    const { demoDocument, demoEnd, demoText } = await import("./render/demo.ts");
    const { config, output, signal, interruption } = context;
    interruption.meaning = "the throwaway server and its folder are removed";
    const started = performance.now();
    const steps: ReturnType<typeof demoDocument>[] = [];
    output.note("starting a throwaway PostgreSQL …\n");
    const digest = await runDemo(
      { binDir: config.pgBin, path: config.searchPath, signal },
      (step) => {
        output.text(demoText(step, steps.length + 1));
        steps.push(demoDocument(step));
      },
    );
    const seconds = (performance.now() - started) / 1000;
    output.text(demoEnd(seconds));
    output.result({ equal: true, digest: digest.digest, steps, seconds });
    return ExitCode.done;
  },
});
