/** The SQLSTATEs that the program reacts to, by the names of PostgreSQL's Appendix A. */
export const SqlState = {
  adminShutdown: "57P01",
  cannotConnectNow: "57P03",
  checkViolation: "23514",
  crashShutdown: "57P02",
  deadlockDetected: "40P01",
  duplicateObject: "42710",
  exclusionViolation: "23P01",
  foreignKeyViolation: "23503",
  insufficientPrivilege: "42501",
  invalidAuthorization: "28000",
  invalidCatalogName: "3D000",
  invalidPassword: "28P01",
  lockNotAvailable: "55P03",
  objectInUse: "55006",
  notNullViolation: "23502",
  readOnlyTransaction: "25006",
  serializationFailure: "40001",
  tooManyConnections: "53300",
  uniqueViolation: "23505",
} as const;

/** The SQLSTATE of an error that the server sent, or undefined for any other value. */
export function sqlStateOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error)) return undefined;
  const { code } = error;
  return typeof code === "string" && /^[0-9A-Z]{5}$/.test(code) && "severity" in error
    ? code
    : undefined;
}

/** Class 22, "data exception": a value that its type's input function does not take. */
export function isDataException(state: string | undefined): boolean {
  return state?.startsWith("22") ?? false;
}
