import { execFile } from "node:child_process";
import { chmod, chown, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { serverAccount } from "../../src/postgres/server-account.ts";

const run = promisify(execFile);

export interface ServerCertificate {
  /** Of the authority that has signed it. */
  readonly ca: string;
  readonly certificate: string;
  /** Readable for PostgreSQL's server alone. */
  readonly key: string;
}

/** Makes an authority in a folder, and a server's certificate for one host name that it has signed. */
export async function makeCertificate(folder: string, host: string): Promise<ServerCertificate> {
  const file = (name: string) => join(folder, name);
  const openssl = (...args: string[]) => run("openssl", args, { cwd: folder });
  const newKey = ["-newkey", "rsa:2048", "-nodes"];
  const named = (name: string) => ["-keyout", `${name}.key`, "-subj", `/CN=${name}`];
  await writeFile(file("names"), `subjectAltName=DNS:${host}`);
  await openssl("req", "-x509", ...newKey, ...named("ca"), "-out", "ca.crt", "-days", "2");
  await openssl("req", ...newKey, ...named("server"), "-out", "server.csr");
  await openssl(
    ...["x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key"],
    ...["-CAcreateserial", "-days", "2", "-out", "server.crt", "-extfile", "names"],
  );
  const account = await serverAccount();
  await chmod(folder, 0o755);
  await chmod(file("server.key"), 0o600);
  if (account !== undefined) await chown(file("server.key"), account.uid, account.gid);
  return { ca: file("ca.crt"), certificate: file("server.crt"), key: file("server.key") };
}
