import assert from "node:assert/strict";
import { suite, test } from "node:test";
import {
  keysOnCommandLine,
  maskSecrets,
  secretsOfUrl,
  writtenForms,
} from "../../../src/config/secrets.ts";

const masked = (text: string, url: string) => maskSecrets(text, secretsOfUrl(url));

suite("the password of a database URL", () => {
  const url = "postgres://me:p%40ss%22word@host/db";

  test("is masked as it is, as the URL has it, and as JSON has it", () => {
    assert.equal(masked('login with p@ss"word failed', url), "login with *** failed");
    assert.equal(masked(url, url), "postgres://me:***@host/db");
    assert.equal(masked(JSON.stringify({ e: 'p@ss"word' }), url), '{"e":"***"}');
    assert.equal(masked("p%40ss%22word", url), "***");
  });

  test("is masked in the forms of a URL when it came from elsewhere, such as PGPASSWORD", () => {
    const forms = writtenForms("a key/with @");
    for (const text of ["a key/with @", "a%20key%2Fwith%20%40", "a%20key/with%20@"]) {
      assert.equal(maskSecrets(`<${text}>`, forms), "<***>");
    }
  });

  test("is masked as a whole where its @ was not encoded", () => {
    const loose = "postgres://me:left@right@host/db";
    assert.equal(masked(`cannot use ${loose}`, loose), "cannot use postgres://me:***@host/db");
    assert.equal(masked("left@right", loose), "***");
  });

  test("is masked where it stands among the parameters", () => {
    const parameter = "postgres://host/db?user=me&password=hunter22";
    assert.equal(masked(parameter, parameter), "postgres://host/db?user=me&password=***");
  });

  test("is masked as a word of its own only when it is short", () => {
    const short = "postgres://me:in@host/db";
    assert.equal(masked("written in the index: 'in'", short), "written *** the index: '***'");
    assert.equal(masked("hunter22s", "postgres://me:hunter22@host/db"), "***s");
  });

  test("is no secret when it is the user's, the host's or the database's name", () => {
    for (const open of ["postgres://a:a@h/d", "postgres://u:h@h/d", "postgres://u:d@h/d"]) {
      assert.deepEqual(secretsOfUrl(open), []);
    }
    assert.deepEqual(secretsOfUrl("postgres://u@h/d"), []);
    assert.deepEqual(secretsOfUrl(""), []);
  });

  test("is masked with everything around it when the URL cannot be read", () => {
    const broken = "postgres://me:hunter/22@host:port/db";
    assert.equal(masked(`no: ${broken}!`, broken), "no: ***!");
  });
});

suite("a URL that nobody named", () => {
  test("has its password masked, but not the word of our own examples", () => {
    assert.equal(
      maskSecrets('s3://key:secret@bucket "postgres://u:pw@h/d"', []),
      's3://key:***@bucket "postgres://u:***@h/d"',
    );
    const example = "postgres://user:password@host:5432/database";
    assert.equal(maskSecrets(example, []), example);
    const without = "http://host:8080/a and postgres://user@host/db";
    assert.equal(maskSecrets(without, []), without);
  });
});

suite("keys on the command line", () => {
  test("are found in each way to write them", () => {
    const found = (...argv: string[]) => keysOnCommandLine(argv);
    assert.deepEqual(found("restore", "-k", "s3cret", "file"), ["s3cret"]);
    assert.deepEqual(found("restore", "-f", "-ks3cret", "file"), ["s3cret"]);
    assert.deepEqual(found("restore", "-fk", "s3cret"), ["s3cret"]);
    assert.deepEqual(found("restore", "-k=s3cret", "--k=other"), ["s3cret", "other"]);
    assert.deepEqual(found("--json", "import", "--key", "a", "--key=b c"), ["a", "b c"]);
    assert.deepEqual(found("verify", "--key-file", "f", "-i", "k", "-k"), []);
  });

  test("are none of those commands whose -k is a number of days, or of other options", () => {
    assert.deepEqual(keysOnCommandLine(["backup", "-k", "14"]), []);
    assert.deepEqual(keysOnCommandLine(["--quiet", "prune", "-k", "14"]), []);
    assert.deepEqual(
      keysOnCommandLine(["export", "acme", "-obackup.jsonl", "--keep-in-flight"]),
      [],
    );
  });
});

suite("masking a long text", () => {
  test("takes time in proportion to its length, a word of a million letters included", () => {
    const word = "x".repeat(1_000_000);
    const started = performance.now();
    assert.equal(maskSecrets(word, ["a secret"]), word);
    assert.equal(maskSecrets(`${word} postgres://u:p@h/d`, []), `${word} postgres://u:***@h/d`);
    assert.ok(performance.now() - started < 20_000);
  });
});
