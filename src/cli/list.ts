import { ExitCode } from "../errors.ts";
import { defineCommand, type GlobalArguments } from "./command.ts";
import { type PlaceArguments, placesOf, withPlaceOptions } from "./place-options.ts";

interface ListArguments extends GlobalArguments, PlaceArguments {}

export const listCommand = defineCommand<ListArguments>({
  usage: "list",
  summary: "list the backups, in the folder and in S3",
  options: (yargs) => withPlaceOptions(yargs),
  examples: [
    ["pgtenant list", "every backup: age, size, layers, when it was verified, where it is"],
    ["pgtenant list --json | jq -r '.backups[0].id'", "the newest good one"],
  ],
  exitCodes: [ExitCode.storage],
  async run(args, context) {
    const { listBackups } = await import("../backup/list-backups.ts");
    const { databaseOfUrl } = await import("../postgres/maintenance-url.ts");
    const { openStores } = await import("../storage/open-stores.ts");
    const { listDocument, listText } = await import("./render/list.ts");
    const { config, output, signal } = context;
    const stores = await openStores(placesOf(args, config));
    try {
      const database = databaseOfUrl(config.databaseUrl);
      const list = await listBackups(stores.all, { database, now: new Date(), signal });
      output.text(listText(list));
      for (const { place, error } of list.unreachable) {
        output.error(`pgtenant: ${place} could not be listed: ${error.message}`);
        if (error.hint !== undefined) output.error(`hint: ${error.hint}`);
      }
      const exitCode = list.unreachable[0]?.error.exitCode ?? ExitCode.done;
      output.result({ ...listDocument(list), exitCode });
      return exitCode;
    } finally {
      await stores.close();
    }
  },
});
