import { describeRoundTrips } from "../harness/round-trip.ts";

describeRoundTrips(
  "a lost tenant comes back bit by bit, on the schema that stopped after migration 0004",
  "n-kudo-0004",
);
