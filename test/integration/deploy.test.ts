import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, test } from "node:test";
import { knownNames } from "../../src/config/variables.ts";
import {
  instructionsOf,
  placeOf,
  readProject,
  run,
  strangeNames,
  without,
  wrongInEnvironment,
} from "../harness/deployment.ts";
import { commandsIn, unknownIn } from "../harness/known-commands.ts";
import { withoutKubernetesSchema, wrongInManifests } from "../harness/kubernetes-schema.ts";
import { parseYaml, withoutYaml } from "../harness/yaml.ts";

interface Container {
  readonly name: string;
  readonly args: readonly string[];
  readonly env?: readonly { readonly name: string; readonly value?: string }[];
  readonly envFrom: readonly {
    readonly configMapRef?: { readonly name: string };
    readonly secretRef?: { readonly name: string };
  }[];
  readonly securityContext: unknown;
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[];
}

interface PodSpec {
  readonly enableServiceLinks: boolean;
  readonly securityContext: Readonly<Record<string, unknown>>;
  readonly containers: readonly [Container];
  readonly volumes: readonly {
    readonly name: string;
    readonly secret?: { readonly secretName: string };
    readonly persistentVolumeClaim?: { readonly claimName: string };
  }[];
}

interface Manifest {
  readonly kind: string;
  readonly metadata: { readonly name?: string; readonly generateName?: string };
  readonly data?: Readonly<Record<string, string>>;
  readonly stringData?: Readonly<Record<string, string>>;
  readonly spec?: unknown;
}

interface ComposeService {
  readonly build: { readonly context: string; readonly dockerfile: string };
  readonly environment: readonly string[];
  readonly volumes: readonly string[];
  readonly depends_on: readonly string[];
}

const unreadable = withoutYaml() ?? false;
const yamlRules =
  "{extends: default, rules: {line-length: {max: 120}, document-start: disable, comments: {min-spaces-from-content: 1}}}";

test("every YAML file of the deployment passes yamllint", {
  skip: without("yamllint", "yamllint") ?? false,
}, () => {
  const { code, said } = run("yamllint", ["--strict", "-d", yamlRules, placeOf("deploy")]);
  assert.equal(code, 0, said);
});

/** The commands of a text that the program does not know. */
async function unknownCommands(commands: Iterable<string>): Promise<readonly string[]> {
  const unknown: string[] = [];
  for (const command of commands) {
    const why = await unknownIn(command);
    if (why !== undefined) unknown.push(why);
  }
  return unknown;
}

test("every command in the files of the deployment and in its guide is one that there is", async () => {
  const texts = ["deployments/Dockerfile.backup", "docs/deployment.md"].map(readProject);
  for (const folder of ["deploy", "deploy/systemd", "deploy/kubernetes"]) {
    for (const entry of await readdir(placeOf(folder), { withFileTypes: true })) {
      if (entry.isFile()) texts.push(readProject(`${folder}/${entry.name}`));
    }
  }
  const commands = new Set(texts.flatMap((text) => commandsIn(text.replace(/\n# ?/g, " "))));
  assert.ok(commands.size > 5);
  assert.deepEqual(await unknownCommands(commands), []);
});

suite("the image", () => {
  const instructions = instructionsOf(readProject("deployments/Dockerfile.backup"));
  const last = (word: string) => instructions.findLast((one) => one.word === word)?.rest;

  test("is built from files that there are, and that .dockerignore lets through", () => {
    const sources = instructions
      .filter(({ word, rest }) => word === "COPY" && !rest.startsWith("--from="))
      .flatMap(({ rest }) => rest.split(/\s+/).slice(0, -1));
    assert.ok(sources.includes("src"));
    const [everything, ...letThrough] = readProject(".dockerignore")
      .split("\n")
      .filter((line) => line !== "" && !line.startsWith("#"));
    assert.equal(everything, "*");
    assert.deepEqual(
      [...new Set(sources)].sort(),
      letThrough.map((line) => line.replace(/^!/, "")).sort(),
    );
    for (const source of sources) assert.ok(existsSync(placeOf(source)), source);
  });

  test("runs the service as a user of a fixed number, behind an init, with the clients of 14 to 18", async () => {
    assert.equal(last("USER"), "10001:10001");
    assert.equal(last("VOLUME"), "/backups");
    assert.equal(
      last("ENTRYPOINT"),
      '["/usr/bin/tini", "--", "node", "/opt/pgtenant/dist/main.js"]',
    );
    const command = JSON.parse(last("CMD") ?? "") as string[];
    assert.deepEqual(await unknownCommands([`pgtenant ${command.join(" ")}`]), []);
    assert.ok(instructions.some(({ rest }) => rest === 'PG_VERSIONS="14 15 16 17 18"'));
    const environment = Object.fromEntries(
      (last("ENV") ?? "").split(/\s+/).map((pair) => pair.split("=") as [string, string]),
    );
    assert.deepEqual(strangeNames(Object.keys(environment), knownNames), []);
    assert.deepEqual(wrongInEnvironment(environment), []);
  });
});

suite("the compose service", { skip: unreadable }, () => {
  const [document] = parseYaml(readProject("deploy/docker-compose.yml"));
  const { services } = document as { services: Readonly<Record<string, ComposeService>> };
  const service = services["backup-scheduler"];
  const pairs = (service?.environment ?? []).map((line) => {
    const at = line.indexOf("=");
    return [line.slice(0, at), line.slice(at + 1)] as const;
  });

  test("is the guide's, word for word", () => {
    assert.deepEqual(service?.build, {
      // The file lies in deploy/, the guide's beside the sources.
      context: "..",
      dockerfile: "deployments/Dockerfile.backup",
    });
    assert.deepEqual(service.environment.slice(0, 7), [
      "DATABASE_URL=postgres://postgres:postgres@postgres:5432/nkudo?sslmode=disable",
      "BACKUP_SCHEDULE=0 2 * * *",
      "BACKUP_DIR=/backups",
      "BACKUP_RETENTION_DAYS=30",
      "BACKUP_S3_BUCKET=my-backups",
      "AWS_ACCESS_KEY_ID=$" + "{AWS_ACCESS_KEY_ID}",
      "AWS_SECRET_ACCESS_KEY=$" + "{AWS_SECRET_ACCESS_KEY}",
    ]);
    assert.deepEqual(service.volumes, ["backup-data:/backups"]);
    assert.deepEqual(service.depends_on, ["postgres"]);
  });

  test("gives the program an environment that it takes, with its secrets in files as well", () => {
    const [overlay] = parseYaml(readProject("deploy/docker-compose.secrets.yml"));
    const over = (overlay as typeof document & { services: typeof services }).services[
      "backup-scheduler"
    ];
    const given = Object.fromEntries(pairs);
    const secret = Object.fromEntries(
      (over?.environment ?? []).map((line) => line.split(/=(.*)/s).slice(0, 2)),
    ) as Record<string, string>;
    for (const environment of [given, { ...given, ...secret }]) {
      assert.deepEqual(strangeNames(Object.keys(environment), knownNames), []);
      assert.deepEqual(wrongInEnvironment(environment), []);
    }
    assert.equal(secret.DATABASE_URL, "");
  });

  test("is one that compose takes", {
    skip: without("docker-compose", "docker-compose") ?? false,
  }, () => {
    const names = { AWS_ACCESS_KEY_ID: "a", AWS_SECRET_ACCESS_KEY: "b", BACKUP_RECIPIENTS: "c" };
    const main = placeOf("deploy/docker-compose.yml");
    const secrets = placeOf("deploy/docker-compose.secrets.yml");
    for (const files of [[main], [main, secrets]]) {
      const args = files.flatMap((file) => ["-f", file]);
      const { code, said } = run("docker-compose", [...args, "config", "--quiet"], names);
      assert.deepEqual([code, said], [0, ""]);
    }
  });
});

suite("the units of systemd", () => {
  const units = ["pgtenant.service", "pgtenant-backup.service", "pgtenant-backup.timer"];
  const services = units.filter((unit) => unit.endsWith(".service"));
  const untestable = without("systemd-analyze", "systemd") ?? false;

  /** Copies whose program there is, wherever this one is installed. */
  async function withUnits(use: (paths: readonly string[]) => void): Promise<void> {
    const folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    try {
      const paths = units.map((unit) => join(folder, unit));
      for (const [index, path] of paths.entries()) {
        const text = readProject(`deploy/systemd/${units[index]}`);
        await writeFile(path, text.replaceAll("/usr/local/bin/pgtenant", "/bin/true"));
      }
      use(paths);
    } finally {
      await rm(folder, { recursive: true });
    }
  }

  test("are ones that systemd takes", { skip: untestable }, async () => {
    await withUnits((paths) => {
      const { code, said } = run("systemd-analyze", ["verify", "--man=no", ...paths]);
      assert.deepEqual([code, said], [0, ""]);
    });
  });

  test("expose no more than 2 of 10, by systemd's own measure", {
    skip: untestable || (without("systemd-analyze", "systemd", ["security", "--help"]) ?? false),
  }, async () => {
    await withUnits((paths) => {
      const args = ["security", "--offline=yes", "--threshold=20", "--no-pager"];
      for (const path of paths.filter((one) => one.endsWith(".service"))) {
        const { code, said } = run("systemd-analyze", [...args, path]);
        assert.equal(code, 0, said);
      }
    });
  });

  test("start commands that there are, in an environment that they take", async () => {
    const file = readProject("deploy/systemd/pgtenant.env.example");
    const valuesOf = (text: string) =>
      Object.fromEntries(
        [...text.matchAll(/^#?(?:Environment=)?([A-Z][A-Z0-9_]+)="?([^"\n]*)"?$/gm)].map(
          ([, name = "", value = ""]) => [name, value],
        ),
      );
    for (const unit of services) {
      const text = readProject(`deploy/systemd/${unit}`);
      const [, command = ""] = /^ExecStart=\/usr\/local\/bin\/(.*)$/m.exec(text) ?? [];
      assert.deepEqual(await unknownCommands([command]), []);
      const environment = { ...valuesOf(file), ...valuesOf(text) };
      assert.ok(Object.keys(environment).length > 8);
      assert.deepEqual(strangeNames(Object.keys(environment), knownNames), []);
      assert.deepEqual(wrongInEnvironment(environment), []);
    }
  });

  test("the timer makes up for a night that was missed", () => {
    assert.match(readProject("deploy/systemd/pgtenant-backup.timer"), /^Persistent=true$/m);
  });
});

suite("the manifests of Kubernetes", { skip: unreadable }, () => {
  const files = ["config", "secrets.example", "service", "backup-cronjob", "drill-cronjob"];
  const manifests = [...files, "export-job"].flatMap((name) =>
    parseYaml(readProject(`deploy/kubernetes/${name}.yaml`)),
  ) as readonly Manifest[];
  const named = (kind: string, name: string | undefined) =>
    manifests.find((manifest) => manifest.kind === kind && manifest.metadata.name === name);
  const pods = manifests.flatMap((manifest) => {
    const pod = podOf(manifest.spec);
    const { name, generateName = "" } = manifest.metadata;
    return pod === undefined ? [] : [[`${manifest.kind} ${name ?? generateName}`, pod] as const];
  });

  test("are ones that the API of Kubernetes takes", {
    skip: withoutKubernetesSchema() ?? false,
  }, () => {
    assert.deepEqual(wrongInManifests(manifests), []);
    const [service] = pods;
    assert.equal(service?.[0], "Deployment pgtenant");
    const misspelt = { ...named("Deployment", "pgtenant"), spec: { replica: "1" } };
    assert.deepEqual(wrongInManifests([misspelt]), [
      "Deployment.spec.replica: V1DeploymentSpec has no such field",
      "Deployment.spec: Invalid value for `selector`, must not be `None`",
    ]);
  });

  test("are put together by kustomize", {
    skip: without("kubectl", "kubernetes-client", ["version", "--client"]) ?? false,
  }, () => {
    const { code, said } = run("kubectl", ["kustomize", placeOf("deploy/kubernetes")]);
    assert.equal(code, 0, said);
    const kinds = [...said.matchAll(/^kind: (.*)$/gm)].map(([, kind]) => kind).sort();
    assert.deepEqual(kinds, [
      "ConfigMap",
      "CronJob",
      "Deployment",
      "PersistentVolumeClaim",
      "Service",
    ]);
  });

  test("let no pod do more than it must", () => {
    assert.equal(pods.length, 4);
    for (const [name, { containers, securityContext, enableServiceLinks }] of pods) {
      assert.deepEqual(
        containers[0].securityContext,
        {
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ["ALL"] },
        },
        name,
      );
      const { runAsNonRoot, runAsUser, seccompProfile } = securityContext;
      assert.deepEqual(
        [runAsNonRoot, runAsUser, seccompProfile],
        [true, 10001, { type: "RuntimeDefault" }],
        name,
      );
      // Else a Service of this name would put PGTENANT_PORT and its like into the environment.
      assert.equal(enableServiceLinks, false, name);
    }
  });

  test("name volumes, secrets and settings that there are", () => {
    for (const [name, { containers, volumes }] of pods) {
      const mounted = containers[0].volumeMounts.map((mount) => mount.name).sort();
      assert.deepEqual(mounted, volumes.map((volume) => volume.name).sort(), name);
      for (const { secret, persistentVolumeClaim: claim } of volumes) {
        if (secret) assert.ok(named("Secret", secret.secretName), secret.secretName);
        if (claim) assert.ok(named("PersistentVolumeClaim", claim.claimName), claim.claimName);
      }
      for (const { configMapRef, secretRef } of containers[0].envFrom) {
        assert.ok(named("ConfigMap", configMapRef?.name) ?? named("Secret", secretRef?.name), name);
      }
    }
  });

  test("give each pod a command that there is, and an environment that it takes", async () => {
    for (const [name, { containers, volumes }] of pods) {
      const [{ args, env = [], envFrom, volumeMounts }] = containers;
      assert.deepEqual(await unknownCommands([`pgtenant ${args.join(" ")}`]), [], name);
      const environment = Object.fromEntries([
        ...envFrom.flatMap(({ configMapRef, secretRef }) => [
          ...Object.entries(named("ConfigMap", configMapRef?.name)?.data ?? {}),
          ...Object.entries(named("Secret", secretRef?.name)?.stringData ?? {}),
        ]),
        ...env.map((one) => [one.name, one.value ?? "0"] as const),
      ]);
      assert.deepEqual(strangeNames(Object.keys(environment), knownNames), [], name);
      assert.deepEqual(wrongInEnvironment(environment), [], name);
      // What is read from a file is a key of a secret that is mounted there.
      for (const [variable, path] of Object.entries(environment)) {
        if (!variable.endsWith("_FILE")) continue;
        const mount = volumeMounts.find((one) => path.startsWith(`${one.mountPath}/`));
        const volume = volumes.find((one) => one.name === mount?.name);
        const secret = named("Secret", volume?.secret?.secretName);
        const key = path.slice((mount?.mountPath.length ?? 0) + 1);
        assert.ok(Object.hasOwn(secret?.stringData ?? {}, key), `${name}: ${variable}=${path}`);
      }
    }
  });

  test("share the export out by the number that Kubernetes gives each pod", () => {
    const job = manifests.find(({ kind }) => kind === "Job");
    const { completionMode, completions } = (job?.spec ?? {}) as Record<string, unknown>;
    const [{ args, env }] = (podOf(job?.spec) as PodSpec).containers;
    assert.equal(completionMode, "Indexed");
    assert.equal(args[args.indexOf("--shard") + 1], `$(JOB_COMPLETION_INDEX)/${completions}`);
    // Kubernetes puts in only what stands in `env`.
    assert.deepEqual(
      env?.find(({ name }) => name === "JOB_COMPLETION_INDEX"),
      {
        name: "JOB_COMPLETION_INDEX",
        valueFrom: {
          fieldRef: {
            fieldPath: "metadata.annotations['batch.kubernetes.io/job-completion-index']",
          },
        },
      },
    );
  });
});

/** The pod of a Deployment, a Job, or a CronJob. */
function podOf(spec: unknown): PodSpec | undefined {
  const { template, jobTemplate } = (spec ?? {}) as {
    template?: { spec: PodSpec };
    jobTemplate?: { spec: unknown };
  };
  return template?.spec ?? (jobTemplate === undefined ? undefined : podOf(jobTemplate.spec));
}
