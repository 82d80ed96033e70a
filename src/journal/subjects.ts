/** What an export of all tenants is about, in its line of the journal. */
export const everyTenant = "every tenant";
