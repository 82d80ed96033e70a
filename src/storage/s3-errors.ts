import { AppError, ExitCode } from "../errors.ts";
import { codeOf } from "./local-file.ts";
import type { S3Connection } from "./s3-client.ts";
import { isSilence } from "./s3-retries.ts";

/** The code of S3 (`NoSuchKey`), or the name of the SDK's own error (`TimeoutError`). */
export function s3Name(error: unknown): string {
  if (!(error instanceof Error)) return "";
  // Without a body, as with HEAD, there is only the status.
  return /^(Unknown\w*|UnknownError|\d+|Error)$/.test(error.name)
    ? (statusNames[s3Status(error) ?? 0] ?? error.name)
    : error.name;
}

const statusNames: Readonly<Record<number, string>> = {
  301: "PermanentRedirect",
  403: "Forbidden",
  404: "NotFound",
  409: "Conflict",
  412: "PreconditionFailed",
  501: "NotImplemented",
};

export function s3Status(error: unknown): number | undefined {
  return metadataOf(error)?.httpStatusCode;
}

/** How often the request was made before it was given up. */
export function s3Attempts(error: unknown): number {
  return metadataOf(error)?.attempts ?? 1;
}

function metadataOf(error: unknown) {
  return error instanceof Error && "$metadata" in error
    ? (error.$metadata as { readonly httpStatusCode?: number; readonly attempts?: number })
    : undefined;
}

/**
 * What went wrong with S3, as an operator can act on it: exit 8. Interruptions, and errors that
 * are not the server's, such as those of a source, stay as they are.
 *
 * @param doing what was attempted, to stand behind "could not": `write "s3://b/x"`
 */
export function s3Error(error: unknown, s3: S3Connection, doing: string): unknown {
  if (error instanceof AppError || !(error instanceof Error) || error.name === "AbortError") {
    return error;
  }
  const name = s3Name(error);
  const fail = (code: string, why: string, hint: string) =>
    new AppError(code, ExitCode.storage, `could not ${doing}: ${why}`, { hint, cause: error });
  switch (name) {
    case "NoSuchBucket":
      return fail(
        "no-such-bucket",
        `there is no bucket "${s3.bucket}" on ${s3.server}`,
        "Make the bucket, or check BACKUP_S3_BUCKET and BACKUP_S3_ENDPOINT.",
      );
    case "InvalidBucketName":
      return fail(
        "no-such-bucket",
        `"${s3.bucket}" cannot be the name of a bucket`,
        "Check BACKUP_S3_BUCKET: 3 to 63 small letters, digits, dots and hyphens.",
      );
    case "CredentialsProviderError":
      return fail(
        "s3-no-credentials",
        "there are no credentials for S3",
        "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE.",
      );
    case "InvalidAccessKeyId":
    case "SignatureDoesNotMatch":
    case "InvalidToken":
    case "ExpiredToken":
    case "TokenRefreshRequired":
      return fail(
        "s3-wrong-credentials",
        `${s3.server} does not accept the credentials (${name})`,
        "Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, and that they belong to this server.",
      );
    case "AccessDenied":
    case "AllAccessDisabled":
    case "AccountProblem":
    case "Forbidden":
      return fail(
        "s3-denied",
        `${s3.server} denies it (${name})`,
        "Check that the credentials are right, and that their rights cover listing, reading, writing and removing in this bucket.",
      );
    case "RequestTimeTooSkewed":
    case "RequestExpired":
    case "RequestInTheFuture":
      return fail(
        "s3-clock",
        `the clocks of this machine and of ${s3.server} differ too much (${name})`,
        "Set this machine's clock, best by NTP.",
      );
    case "PermanentRedirect":
    case "AuthorizationHeaderMalformed":
    case "IllegalLocationConstraintException":
      return fail(
        "s3-region",
        `the bucket "${s3.bucket}" is not in the region ${s3.region} (${name})`,
        "Set BACKUP_S3_REGION to the region of the bucket.",
      );
    case "QuotaExceeded":
    case "XMinioStorageFull":
    case "InsufficientCapacity":
      return fail(
        "s3-full",
        `${s3.server} has no space left (${name})`,
        "Prune old backups, or have the quota raised.",
      );
  }
  const tries = s3Attempts(error) > 1 ? `, ${s3Attempts(error)} attempts` : "";
  if (isSilence(error)) {
    return fail(
      "s3-unreachable",
      `${s3.server} did not answer in time${tries}`,
      "Check BACKUP_S3_ENDPOINT, the network, and how the server fares.",
    );
  }
  const code = codeOf(error);
  if (code !== undefined && /^(E[A-Z_]+|CERT_\w+|ERR_(TLS|SSL)\w*|\w*CERT\w*)$/.test(code)) {
    return fail(
      "s3-unreachable",
      `${s3.server} cannot be reached (${code}${tries})`,
      /CERT|TLS|SSL|EPROTO/.test(code)
        ? "Its certificate is not trusted, or it does not speak TLS: check BACKUP_S3_ENDPOINT, or name its authority in NODE_EXTRA_CA_CERTS."
        : "Check BACKUP_S3_ENDPOINT and the network.",
    );
  }
  const status = s3Status(error);
  if (status === undefined) return error;
  return fail(
    "s3-failed",
    `${s3.server} answered ${status} ${name}${tries}${messageOf(error)}`,
    status >= 500
      ? "The server has trouble; try again later, or ask whoever runs it."
      : "See what its documentation says of this answer.",
  );
}

/** Often empty, and sometimes a page of HTML. */
function messageOf(error: Error): string {
  const [first = ""] = error.message.trim().split("\n");
  if (first === "" || first.startsWith("<") || /^Unknown(Error)?$/.test(first)) return "";
  return ` (${first.slice(0, 200)})`;
}
