import {
  createCipheriv,
  createDecipheriv,
  randomBytes,
  scrypt as scryptCallback,
} from "node:crypto";
import type { Identity, Recipient, Stanza } from "age-encryption";

const label = "age-encryption.org/v1/scrypt";
const saltBytes = 16;
/** Of scrypt, as a power of two: what the age program takes, 256 MiB and half a second. */
const writtenWork = 18;
/** More memory than this, 1 GiB, is not spent because a file says so. */
const highestWork = 20;
const cipherName = "chacha20-poly1305";
const tagBytes = 16;

/*
 * The age package does this too, with a scrypt in JavaScript that keeps everything else waiting
 * for seconds and takes a hundred megabytes more; this one is Node's own, on another thread.
 */

export function passphraseRecipient(
  passphrase: string,
  makeStanza: new (args: string[], body: Uint8Array) => Stanza,
): Recipient {
  return {
    async wrapFileKey(fileKey) {
      const salt = randomBytes(saltBytes);
      const key = await wrappingKey(passphrase, salt, writtenWork);
      const cipher = createCipheriv(cipherName, key, Buffer.alloc(12), { authTagLength: tagBytes });
      const body = Buffer.concat([cipher.update(fileKey), cipher.final(), cipher.getAuthTag()]);
      const args = ["scrypt", salt.toString("base64").replace(/=+$/, ""), String(writtenWork)];
      return [new makeStanza(args, new Uint8Array(body))];
    },
  };
}

/** @throws {Error} from `unwrapFileKey`, for a header that age does not allow */
export function passphraseIdentity(passphrase: string): Identity {
  return {
    async unwrapFileKey(stanzas) {
      const stanza = stanzas.find(({ args }) => args[0] === "scrypt");
      if (stanza === undefined) return null;
      const [, saltText = "", workText = ""] = stanza.args;
      const salt = Buffer.from(saltText, "base64");
      const work = Number(workText);
      if (
        stanzas.length !== 1 ||
        stanza.args.length !== 3 ||
        stanza.body.length !== 16 + tagBytes ||
        salt.length !== saltBytes ||
        !/^[1-9][0-9]?$/.test(workText)
      ) {
        throw new Error("invalid scrypt stanza");
      }
      if (work > highestWork) throw new Error(`scrypt work factor ${work} is too high`);
      const key = await wrappingKey(passphrase, salt, work);
      const body = Buffer.from(stanza.body);
      const decipher = createDecipheriv(cipherName, key, Buffer.alloc(12), {
        authTagLength: tagBytes,
      });
      decipher.setAuthTag(body.subarray(-tagBytes));
      const fileKey = decipher.update(body.subarray(0, -tagBytes));
      try {
        decipher.final();
        return new Uint8Array(fileKey);
      } catch {
        return null;
      }
    },
  };
}

function wrappingKey(passphrase: string, salt: Buffer, work: number): Promise<Buffer> {
  const cost = { N: 2 ** work, r: 8, p: 1 };
  // Node refuses to take more memory than it is allowed; scrypt takes this, and a little.
  const options = { ...cost, maxmem: 128 * cost.N * cost.r + (1 << 20) };
  return new Promise((resolve, reject) => {
    scryptCallback(
      passphrase,
      Buffer.concat([Buffer.from(label), salt]),
      32,
      options,
      (error, key) => {
        if (error === null) resolve(key);
        else reject(error);
      },
    );
  });
}
