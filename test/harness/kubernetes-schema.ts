import { spawnSync } from "node:child_process";

const python = "/usr/bin/python3";

/** Fields that are younger than the API's types of Debian 12 (Kubernetes 1.22). */
const younger: Readonly<Record<string, string>> = {
  "V1CronJobSpec.timeZone": "str", // 1.27
};

// The types that Kubernetes' own client is generated with say of each field what it is called and what it
// holds; their constructors refuse where a required one is missing.
const script = `
import json, re, sys
from kubernetes import client
younger, documents = json.load(sys.stdin)
found = []

def check(value, kind, at):
    wrapped = re.fullmatch(r"(list\\[|dict\\(str, )(.+)[\\])]", kind)
    if wrapped:
        listed = wrapped.group(1) == "list["
        if not isinstance(value, list if listed else dict):
            return found.append(f"{at} is no {'list' if listed else 'map'}")
        items = enumerate(value) if listed else value.items()
        made = [(key, check(item, wrapped.group(2), f"{at}.{key}")) for key, item in items]
        return [item for _, item in made] if listed else dict(made)
    plain = {"str": str, "int": int, "bool": bool}.get(kind)
    if plain:
        if type(value) is not plain:
            found.append(f"{at} is {json.dumps(value)}, and no {kind}")
        return value
    if kind == "object":
        return value
    model = getattr(client, kind)
    if not isinstance(value, dict):
        return found.append(f"{at} is no {kind}")
    names = {outside: inside for inside, outside in model.attribute_map.items()}
    given = {}
    for name, item in value.items():
        if name in names:
            given[names[name]] = check(item, model.openapi_types[names[name]], f"{at}.{name}")
        elif f"{kind}.{name}" in younger:
            check(item, younger[f"{kind}.{name}"], f"{at}.{name}")
        else:
            found.append(f"{at}.{name}: {kind} has no such field")
    try:
        return model(**given)
    except ValueError as error:
        found.append(f"{at}: {error}")

for document in documents:
    version = document["apiVersion"].split("/")[-1]
    kind = version[0].upper() + version[1:] + document["kind"]
    check(document, kind, document["kind"])
json.dump(found, sys.stdout)
`;

/** Why manifests cannot be checked here; undefined when they can. */
export function withoutKubernetesSchema(): string | undefined {
  const { status } = spawnSync(python, ["-c", "import kubernetes.client"]);
  return status === 0
    ? undefined
    : "the types of Kubernetes are missing (Debian's package python3-kubernetes)";
}

/** What is wrong with manifests: fields that there are not, values of another type, missing ones. */
export function wrongInManifests(documents: readonly unknown[]): readonly string[] {
  const { status, stdout, stderr } = spawnSync(python, ["-c", script], {
    input: JSON.stringify([younger, documents]),
    encoding: "utf8",
  });
  if (status !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as string[];
}
