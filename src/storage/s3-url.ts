import { AppError, ExitCode } from "../errors.ts";
import type { Store } from "./store.ts";

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

/** Where S3 is, as the settings say it. */
export interface S3Server {
  readonly s3Endpoint?: string | undefined;
  readonly s3Region?: string | undefined;
}

/**
 * The bucket of a URL as a store, and the key in it.
 *
 * @throws {AppError} exit 2 for what names no single object
 */
export async function openS3Url(
  url: string,
  server: S3Server,
): Promise<{ readonly store: Store; readonly key: string }> {
  const { bucket, key } = parseS3Url(url);
  if (key === "" || key.endsWith("/")) {
    throw new AppError("bad-s3-url", ExitCode.usage, `"${url}" names no object, but a place`, {
      hint: "Write s3://BUCKET/KEY, such as s3://backups/tenants/acme.jsonl.zst.",
    });
  }
  const { openS3Store } = await import("./s3-store.ts");
  const { s3Endpoint: endpoint, s3Region: region } = server;
  return { store: await openS3Store({ bucket, endpoint, region }), key };
}
