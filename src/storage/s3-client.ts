import type { S3Client } from "@aws-sdk/client-s3";
import { jitteredPause, retryStrategy } from "./s3-retries.ts";

export interface S3Options {
  readonly bucket: string;
  /** A folder in the bucket; undefined for its root. */
  readonly prefix?: string | undefined;
  /** Of a server other than Amazon's: `https://minio.example.org:9000`. */
  readonly endpoint?: string | undefined;
  /** Where it is not given: the one in the name of an Amazon endpoint, else us-east-1. */
  readonly region?: string | undefined;
  /** By default what the SDK finds: AWS_ACCESS_KEY_ID and so on, profiles, the machine's role. */
  readonly credentials?: S3Credentials | undefined;
  /** For tests: a server that fails need not be waited for as long. */
  readonly patience?: Partial<Patience> | undefined;
}

export interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string | undefined;
}

export interface Patience {
  /** How long a connection may take to be made. */
  readonly connectMs: number;
  /** How long a connection may be silent, in both directions. */
  readonly silenceMs: number;
  /** The longest pause before the second attempt. */
  readonly pauseMs: number;
  /** How long clearing up after a failure may take. */
  readonly clearUpMs: number;
}

/** A stalled server ends in an error within a minute: twice the silence, and pauses. */
const defaultPatience: Patience = {
  connectMs: 10_000,
  silenceMs: 20_000,
  pauseMs: 500,
  clearUpMs: 8_000,
};
const attempts = 5;
const attemptsInSilence = 2;

type Sdk = typeof import("@aws-sdk/client-s3");

/** A bucket, and what is needed to talk to its server. */
export interface S3Connection {
  readonly sdk: Sdk;
  readonly client: S3Client;
  readonly bucket: string;
  /** As messages name the server; without any credentials that its URL might hold. */
  readonly server: string;
  readonly region: string;
  readonly attempts: number;
  readonly clearUpMs: number;
  /** How long to wait before the given attempt, counted from 1. */
  readonly pauseBefore: (attempt: number) => number;
}

/** Nothing is sent yet. The SDK takes 0.2–0.4 s to load, so it is loaded only here. */
export async function connectS3(options: S3Options): Promise<S3Connection> {
  const sdk = await import("@aws-sdk/client-s3");
  const patience = { ...defaultPatience, ...options.patience };
  const amazon = amazonHost(options.endpoint);
  const region = options.region ?? regionOfHost(amazon) ?? "us-east-1";
  const client = new sdk.S3Client({
    region,
    // From the name of Amazon's global endpoint the SDK would not find other regions.
    ...(options.endpoint === undefined || amazon === "s3.amazonaws.com"
      ? {}
      : { endpoint: options.endpoint }),
    ...(options.credentials === undefined ? {} : { credentials: plain(options.credentials) }),
    forcePathStyle: options.endpoint !== undefined && amazon === undefined,
    followRegionRedirects: amazon !== undefined || options.endpoint === undefined,
    // Its own checksums are unknown to many servers; parts carry Content-MD5.
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
    // A server that doesn't know "Expect" would cost 6 s a part, and a connection each anyway.
    expectContinueHeader: false,
    maxAttempts: attempts,
    retryStrategy: retryStrategy({ attempts, attemptsInSilence, pauseMs: patience.pauseMs }),
    requestHandler: {
      connectionTimeout: patience.connectMs,
      socketTimeout: patience.silenceMs,
      httpAgent: { keepAlive: true },
      httpsAgent: { keepAlive: true },
    },
  });
  return Object.freeze({
    sdk,
    client,
    bucket: options.bucket,
    server: options.endpoint === undefined ? "Amazon S3" : new URL(options.endpoint).host,
    region,
    attempts,
    clearUpMs: patience.clearUpMs,
    pauseBefore: (attempt: number) =>
      attempt <= 1 ? 0 : jitteredPause(attempt - 1, patience.pauseMs),
  });
}

function amazonHost(endpoint: string | undefined): string | undefined {
  if (endpoint === undefined) return undefined;
  const { hostname } = new URL(endpoint);
  return /(^|\.)amazonaws\.com(\.cn)?$/.test(hostname) ? hostname : undefined;
}

/** `s3.eu-central-1.amazonaws.com`, `s3.dualstack.eu-central-1.amazonaws.com` */
function regionOfHost(host: string | undefined): string | undefined {
  return /(?:^|[.-])([a-z]{2}(?:-[a-z]+)+-\d)\.amazonaws\.com(?:\.cn)?$/.exec(host ?? "")?.[1];
}

/** Exact optional properties: the SDK's type knows no undefined. */
function plain({ accessKeyId, secretAccessKey, sessionToken }: S3Credentials) {
  return {
    accessKeyId,
    secretAccessKey,
    ...(sessionToken === undefined ? {} : { sessionToken }),
  };
}
