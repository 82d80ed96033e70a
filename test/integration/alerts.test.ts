import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { suite, test } from "node:test";
import { fileURLToPath } from "node:url";
import { metricsText } from "../../src/service/metrics.ts";
import { commandsIn, unknownIn } from "../harness/known-commands.ts";
import { metricsIn, promtool, withoutPromtool } from "../harness/promtool.ts";
import { stateOf, states } from "../harness/status-states.ts";
import { parseYaml, withoutYaml } from "../harness/yaml.ts";

interface Alert {
  readonly alert: string;
  readonly expr: string;
  readonly for: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

interface TestFile {
  readonly tests: readonly {
    readonly promql_expr_test?: readonly {
      readonly exp_samples: readonly { readonly labels: string }[];
    }[];
    readonly alert_rule_test?: readonly {
      readonly alertname: string;
      readonly exp_alerts: readonly unknown[];
    }[];
  }[];
}

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: {
    readonly x: number;
    readonly y: number;
    readonly w: number;
    readonly h: number;
  };
  readonly datasource: { readonly uid: string };
  readonly targets: readonly {
    readonly expr: string;
    readonly datasource: { readonly uid: string };
  }[];
}

interface Dashboard {
  readonly schemaVersion: number;
  readonly panels: readonly Panel[];
  readonly annotations: { readonly list: readonly { readonly expr: string }[] };
  readonly templating: {
    readonly list: readonly { readonly name: string; readonly type: string }[];
  };
}

const place = (path: string) => fileURLToPath(new URL(`../../deploy/${path}`, import.meta.url));
const rules = place("prometheus/alerts.yml");
const testFiles = ["alerts.test.yml", "alerts-over-weeks.test.yml"];

async function readAlerts(): Promise<readonly Alert[]> {
  const [document] = parseYaml(await readFile(rules, "utf8"));
  const { groups } = document as { groups: readonly { rules: readonly Alert[] }[] };
  return groups.flatMap((group) => group.rules);
}

async function readDashboard(): Promise<Dashboard> {
  return JSON.parse(await readFile(place("grafana/dashboard.json"), "utf8")) as Dashboard;
}

function expressionsOf(dashboard: Dashboard): readonly string[] {
  return [
    ...dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)),
    ...dashboard.annotations.list.map(({ expr }) => expr),
  ];
}

/** The names of every metric that is told in any state. */
async function toldMetrics(): Promise<ReadonlySet<string>> {
  const texts = await Promise.all(Object.keys(states).map((name) => metricsText(stateOf(name))));
  const types = texts.flatMap((text) => [...text.matchAll(/^# TYPE (\S+) /gm)]);
  return new Set(types.map(([, name = ""]) => name));
}

const unreadable = withoutYaml() ?? false;
const untestable = withoutPromtool() ?? unreadable;

suite("the alerts", () => {
  test("are rules that Prometheus takes", { skip: untestable }, () => {
    const { code, said } = promtool(["check", "rules", rules]);
    assert.equal(code, 0, said);
  });

  for (const file of testFiles) {
    test(`do in sample series as ${file} says`, { skip: untestable }, () => {
      const { code, said } = promtool(["test", "rules", place(`prometheus/${file}`)]);
      assert.equal(code, 0, said);
    });
  }

  test("each have series that make them fire, and others that nearly do", {
    skip: unreadable,
  }, async () => {
    const firing = new Set<string>();
    const silent = new Set<string>();
    for (const file of testFiles) {
      const [document] = parseYaml(await readFile(place(`prometheus/${file}`), "utf8"));
      for (const { promql_expr_test, alert_rule_test } of (document as TestFile).tests) {
        for (const { exp_samples } of promql_expr_test ?? []) {
          for (const { labels } of exp_samples) {
            firing.add(/alertname="(\w+)"/.exec(labels)?.[1] ?? "");
          }
        }
        for (const { alertname, exp_alerts } of alert_rule_test ?? []) {
          (exp_alerts.length === 0 ? silent : firing).add(alertname);
        }
      }
    }
    const names = (await readAlerts()).map(({ alert }) => alert).sort();
    assert.deepEqual([...firing].sort(), names);
    assert.deepEqual([...silent].sort(), names);
  });

  test("have the guide's two as the guide has them", { skip: unreadable }, async () => {
    const [failed, small] = await readAlerts();
    const { description: _, ...failedSummary } = failed?.annotations ?? {};
    const { description: __, ...smallSummary } = small?.annotations ?? {};
    assert.deepEqual(
      { ...failed, annotations: failedSummary },
      {
        alert: "BackupJobFailed",
        expr: "time() - backup_last_success_timestamp > 90000",
        for: "5m",
        labels: { severity: "critical" },
        annotations: { summary: "Backup job has not succeeded in 25 hours" },
      },
    );
    assert.deepEqual(
      { ...small, annotations: smallSummary },
      {
        alert: "BackupFileTooSmall",
        expr: "backup_file_size_bytes < 1048576",
        for: "5m",
        labels: { severity: "warning" },
        annotations: { summary: "Latest backup file is suspiciously small" },
      },
    );
  });

  test("ask for metrics that there are, and say what to do with commands that there are", {
    skip: unreadable,
  }, async () => {
    const told = await toldMetrics();
    const wrong: string[] = [];
    for (const { alert, expr, labels, annotations } of await readAlerts()) {
      const asked = metricsIn(expr);
      assert.notEqual(asked.length, 0, alert);
      for (const name of asked) if (!told.has(name)) wrong.push(`${alert} asks for ${name}`);
      if (!/^(critical|warning)$/.test(labels.severity ?? "")) wrong.push(`${alert}: severity`);
      if ((annotations.summary ?? "") === "") wrong.push(`${alert}: no summary`);
      const commands = commandsIn(annotations.description ?? "");
      if (commands.length === 0) wrong.push(`${alert} names no command that helps`);
      for (const command of commands) {
        const unknown = await unknownIn(command);
        if (unknown !== undefined) wrong.push(`${alert}: ${unknown}`);
      }
    }
    assert.deepEqual(wrong, []);
  });

  test("are checked by what finds a wrong name", async () => {
    assert.deepEqual(
      metricsIn(
        'sum without (operation) (increase(a_total{operation="backup"}[6h])) > 0 unless b{c=~"d"} == time() - 2e9 or quantile_over_time(0.5, (x:y > 0)[7d:1h] offset 1d) < Inf',
      ),
      ["a_total", "b", "x:y"],
    );
    assert.deepEqual(commandsIn("run `pgtenant verify\nlatest -v`, or `psql`"), [
      "pgtenant verify latest -v",
    ]);
    assert.equal(await unknownIn("pgtenant verify latest -v"), undefined);
    assert.equal(
      await unknownIn("pgtenant verify latest --deep"),
      '"pgtenant verify latest --deep": verify has no option --deep',
    );
    assert.equal(
      await unknownIn("pgtenant check latest"),
      '"pgtenant check latest": there is no command check',
    );
  });
});

suite("the dashboard", () => {
  test("asks for metrics that there are, in expressions that Prometheus takes", {
    skip: withoutPromtool() ?? false,
  }, async () => {
    const told = await toldMetrics();
    const expressions = expressionsOf(await readDashboard());
    const asked = new Set(expressions.flatMap(metricsIn));
    assert.deepEqual(
      [...asked].filter((name) => !told.has(name)),
      [],
    );
    // A dashboard that lacks what is told says less than it could.
    assert.deepEqual(
      [...told].filter((name) => !asked.has(name)),
      ["pgtenant_build_info"],
    );
    const asRules = expressions.map((expr, index) => ({
      record: `panel:${index}`,
      expr: expr.replaceAll("$instance", ".*").replaceAll("$__interval", "5m"),
    }));
    const folder = await mkdtemp(join(tmpdir(), "pgtenant-test-"));
    try {
      // JSON is YAML too.
      const file = join(folder, "panels.yml");
      await writeFile(file, JSON.stringify({ groups: [{ name: "dashboard", rules: asRules }] }));
      const { code, said } = promtool(["check", "rules", file]);
      assert.equal(code, 0, said);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test("takes its data source from a variable, and no panel lies upon another", async () => {
    const { schemaVersion, panels, templating } = await readDashboard();
    assert.ok(schemaVersion >= 39);
    const variables = templating.list.map(({ name, type }) => `${name}: ${type}`);
    assert.deepEqual(variables, ["datasource: datasource", "instance: query"]);
    assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
    const taken = new Map<string, string>();
    for (const { title, datasource, targets, gridPos } of panels) {
      for (const { uid } of [datasource, ...targets.map((target) => target.datasource)]) {
        assert.match(uid, /^\$\{datasource\}$/, title);
      }
      assert.ok(gridPos.x + gridPos.w <= 24, title);
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          assert.equal(taken.get(`${x},${y}`), undefined, title);
          taken.set(`${x},${y}`, title);
        }
      }
    }
  });
});
