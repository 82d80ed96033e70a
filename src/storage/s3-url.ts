import { AppError, ExitCode } from "../errors.ts";

/** One object in S3, as `s3://bucket/key` names it. */
export interface S3Url {
  readonly bucket: string;
  /** Empty, or with a slash at its end, where a place for several objects is meant. */
  readonly key: string;
}

export function isS3Url(text: string): boolean {
  return /^s3:/i.test(text);
}

/**
 * The key stands in it as it is, with nothing escaped.
 *
 * @throws {AppError} exit 2, code `bad-s3-url`
 */
export function parseS3Url(text: string): S3Url {
  const match = /^s3:\/\/([a-z0-9][a-z0-9._-]*)(?:\/(.*))?$/is.exec(text);
  const [, bucket, key = ""] = match ?? [];
  if (bucket === undefined) {
    throw new AppError("bad-s3-url", ExitCode.usage, `"${text}" names no object in S3`, {
      hint: "Write s3://BUCKET/KEY, such as s3://backups/tenants/acme.jsonl.zst.",
    });
  }
  return { bucket, key };
}
