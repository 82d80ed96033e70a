import type { TenantList } from "../../tenant/list-tenants.ts";
import { textTable } from "./table.ts";
import { count } from "./units.ts";

export function tenantsText(list: TenantList): string {
  if (list.tenants.length === 0) return "there is no tenant in this database";
  return textTable(
    [{ title: "id" }, { title: "slug" }, { title: "name" }, { title: "rows", align: "right" }],
    list.tenants.map((tenant) => [
      tenant.id,
      tenant.slug ?? "",
      tenant.name ?? "",
      count(tenant.totalRows),
    ]),
  );
}
