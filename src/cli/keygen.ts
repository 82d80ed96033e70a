import { Readable } from "node:stream";
import { AppError, ExitCode, retold } from "../errors.ts";
import { defineCommand, type GlobalArguments } from "./command.ts";
import { usage } from "./options.ts";

interface KeygenArguments extends GlobalArguments {
  output?: string | undefined;
}

export const keygenCommand = defineCommand<KeygenArguments>({
  usage: "keygen",
  summary: "make an age key pair: a public key to encrypt to, and an identity that opens",
  options: (yargs) =>
    yargs.option("output", {
      alias: "o",
      type: "string",
      requiresArg: true,
      describe: "a new file for the identity",
      defaultDescription: "the standard output",
    }),
  examples: [
    ["pgtenant keygen -o identity.txt", "into a file that only its owner can read"],
    ["pgtenant keygen | age -p > identity.age", "never in the clear on any disk"],
  ],
  exitCodes: [ExitCode.storage],
  async run(args, context) {
    const { output, signal, interruption } = context;
    const path = args.output === "-" ? undefined : args.output;
    if (path === "") throw usage("-o names nothing", "Give the path of a new file.");
    interruption.meaning = "no key pair was kept";
    const { generateKeyPair } = await import("../bundle/keys.ts");
    const { identity, recipient } = await generateKeyPair();
    const createdAt = new Date().toISOString().replace(/\.\d+Z$/, "Z");
    const text = `# created: ${createdAt}\n# public key: ${recipient}\n${identity}\n`;
    if (path === undefined) {
      // The one place where a secret is printed, since it was asked for.
      if (!output.json) output.text(text.trimEnd());
    } else {
      const { writeWholeFile } = await import("../storage/local-file.ts");
      await writeWholeFile(path, Readable.from([Buffer.from(text)]), {
        stages: [],
        overwrite: false,
        signal,
      }).catch(refuseOverwriting);
    }
    output.note(`Public key: ${recipient}`);
    output.note(
      "note: keep the identity apart from the backups, and more than one copy of it; what is encrypted to this key cannot be read without it. Several recipients and identities can be given, so that keys can be changed.",
    );
    output.result({
      recipient,
      createdAt,
      ...(path === undefined ? { identity } : { output: path }),
    });
    return ExitCode.done;
  },
});

function refuseOverwriting(error: unknown): never {
  if (!(error instanceof AppError) || error.code !== "output-exists") throw error;
  throw retold(error, {
    hint: "Choose another name with -o: a key that is overwritten is lost with all that it opens.",
  });
}
