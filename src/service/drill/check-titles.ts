import type { DrillCheckName } from "./drill-report.ts";

/** What each check is called where people read it. */
export const checkTitles: Readonly<Record<DrillCheckName, string>> = {
  found: "a backup is there",
  "off-site": "the copy in S3 can be downloaded",
  server: "a server for the scratch database",
  read: "the backup can be read",
  space: "the disk is large enough",
  restored: "the backup restores",
  rows: "every row is there",
  "foreign-keys": "every foreign key holds",
  chain: "the audit chain holds",
  files: "PKI and configuration files unpack",
  tenant: "a lost tenant comes back",
  rto: "the restore is fast enough (RTO)",
  cleared: "nothing is left behind",
};
