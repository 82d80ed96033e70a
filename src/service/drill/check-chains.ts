import type { Session } from "../../postgres/session.ts";
import { chainLinks, chainText } from "../../tenant/chain-links.ts";
import type { OpenSchema } from "../../tenant/open-schema.ts";
import { type Finding, notWhole } from "./drill-checks.ts";

/**
 * Follows the links of every hash-chained table over all tenants.
 *
 * @throws {AppError} exit 3, naming the first row that does not link to the one before it
 */
export async function checkChains(session: Session, schema: OpenSchema): Promise<Finding> {
  const told: string[] = [];
  for (const table of schema.tables) {
    const chain = schema.profile.chain[table.name];
    const links = chain === undefined ? undefined : await chainLinks(session, table, chain);
    if (links === undefined) continue;
    if (links.broken > 0) {
      const first = `the first is ${chain?.order} ${links.firstBroken[0]}`;
      throw notWhole("broken-chain", `${chainText(table, links)}; ${first}`, {
        hint: "Rows were altered, or written at the same moment. pgtenant doctor says whether the live database has the same.",
        details: links.firstBroken.map((order) => `${table.name}: ${chain?.order} ${order}`),
      });
    }
    told.push(chainText(table, links));
  }
  return { message: told.join("; ") };
}
