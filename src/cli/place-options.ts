import type { Argv } from "yargs";
import type { Config } from "../config/config.ts";
import type { StorageSettings } from "../storage/open-stores.ts";
import { usage } from "./options.ts";

/** Where backups are kept, as it was typed. */
export interface PlaceArguments {
  dir?: string | undefined;
  "s3-bucket"?: string | undefined;
  "s3-prefix"?: string | undefined;
  "s3-endpoint"?: string | undefined;
  "s3-region"?: string | undefined;
}

/**
 * @param dirAlias a short name of `--dir`; none where `-d` means something else
 */
export function withPlaceOptions<T>(
  yargs: Argv<T>,
  dirAlias: readonly string[] = ["d"],
): Argv<T & PlaceArguments> {
  return yargs
    .option("dir", {
      alias: [...dirAlias],
      type: "string",
      requiresArg: true,
      describe: "the folder that backups are kept in",
      defaultDescription: "BACKUP_DIR",
    })
    .option("s3-bucket", {
      type: "string",
      requiresArg: true,
      describe: "the bucket that they are kept in as well",
      defaultDescription: "BACKUP_S3_BUCKET",
    })
    .option("s3-prefix", {
      type: "string",
      requiresArg: true,
      describe: "what their keys begin with",
      defaultDescription: "BACKUP_S3_PREFIX",
    })
    .option("s3-endpoint", {
      type: "string",
      requiresArg: true,
      describe: "the server of the bucket, where it is not Amazon's",
      defaultDescription: "BACKUP_S3_ENDPOINT",
    })
    .option("s3-region", {
      type: "string",
      requiresArg: true,
      describe: "the region of the bucket",
      defaultDescription: "BACKUP_S3_REGION, AWS_REGION, else us-east-1",
    });
}

type Given = {
  readonly dir?: string | undefined;
  readonly s3Bucket?: string | undefined;
  readonly s3Prefix?: string | undefined;
  readonly s3Endpoint?: string | undefined;
  readonly s3Region?: string | undefined;
};

/**
 * Flags over the environment.
 *
 * @throws {AppError} exit 2 for a flag that is empty, or an endpoint that is no URL
 */
export function placesOf(args: Given, { backup }: Readonly<Config>): StorageSettings {
  const flags = {
    dir: args.dir,
    "s3-bucket": args.s3Bucket,
    "s3-prefix": args.s3Prefix,
    "s3-endpoint": args.s3Endpoint,
    "s3-region": args.s3Region,
  };
  for (const [name, value] of Object.entries(flags)) {
    if (value === "") throw usage(`--${name} names nothing`, "Give a value, or leave it out.");
  }
  const { s3Endpoint } = args;
  if (s3Endpoint !== undefined && !(/^https?:\/\//.test(s3Endpoint) && URL.canParse(s3Endpoint))) {
    throw usage(
      `--s3-endpoint "${s3Endpoint}" is no URL`,
      "It begins with http:// or https://, such as https://s3.example.org.",
    );
  }
  return {
    directory: args.dir ?? backup.directory,
    s3Bucket: args.s3Bucket ?? backup.s3Bucket,
    s3Prefix: args.s3Prefix ?? backup.s3Prefix,
    s3Endpoint: s3Endpoint ?? backup.s3Endpoint,
    s3Region: args.s3Region ?? backup.s3Region,
  };
}
