import { ExitCode } from "../errors.ts";
import { defineCommand } from "./command.ts";
import { connectionOf, schemaOptionsOf } from "./options.ts";

export const tenantsCommand = defineCommand({
  usage: "tenants",
  summary: "list the tenants: id, slug, name, number of rows",
  options: (yargs) => yargs,
  examples: [
    ["pgtenant tenants", "every tenant with its number of rows"],
    ["pgtenant tenants --json | jq '.tenants[0].rows'", "the rows of each table"],
  ],
  exitCodes: [ExitCode.database, ExitCode.storage],
  async run(_args, context) {
    const { listTenants } = await import("../tenant/list-tenants.ts");
    const { tenantsText } = await import("./render/tenants.ts");
    const { output } = context;
    const progress = await context.progress("counting");
    // An unclassified table is no reason to hide the tenants; the warning below names it.
    const list = await listTenants(
      connectionOf(context, "tenants"),
      { ...schemaOptionsOf(context), acceptUnclassified: true },
      progress,
    );
    progress.stop();
    for (const warning of list.warnings) output.warn(warning);
    output.text(tenantsText(list));
    output.result(list);
    return ExitCode.done;
  },
});
