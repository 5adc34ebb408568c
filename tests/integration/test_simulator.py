"""penstock-sim compares scaling policies against a trace or a synthetic load.

Promised: settings come from the proxy's configuration; a table on stdout, and with --out a report, a time line
and a picture; what is wrong with the input is said with its place, exit code 1, and nothing on stdout.

Shown: the program is run on small traces and loads, and what it writes is read back.
"""

import collections
import csv
import xml.etree.ElementTree

import pytest

from support.programs import binary, run_to_end

CONFIG = """\
admin: { address: 127.0.0.1:0 }
listeners:
  - name: ingress
    address: 127.0.0.1:0
    routes:
      - { prefix: /, cluster: model }
clusters:
  - name: model
    concurrency_target: 2
    replicas:
      process: { command: [penstock-sidecar, --listen, "{address}"] }
    autoscaling: { min_replicas: 1, max_replicas: 7, window: 30s, scale_down_delay: 0s }
"""
SECOND = CONFIG[CONFIG.index("  - name: model"):].replace("name: model", "name: other").replace(
    "max_replicas: 7", "max_replicas: 3")
Ended = collections.namedtuple("Ended", ["returncode", "stdout", "stderr"])
POLICIES = ["penstock", "baseten", "kpa", "fixed", "oracle"]


@pytest.fixture(name="folder")
def folder_fixture(tmp_path):
    (tmp_path / "proxy.yaml").write_text(CONFIG)
    (tmp_path / "two.yaml").write_text(CONFIG + SECOND)
    (tmp_path / "trace.csv").write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n" + "".join(
            f"2024-02-03 10:{i // 60:02}:{i % 60:02}.5000000,{100 * i},{i}\n" for i in range(300)))
    return tmp_path


def simulate(folder, *arguments):
    return Ended(*run_to_end([binary("penstock-sim"), *arguments], cwd=folder))


def table(output):
    lines = output.splitlines()
    begin = next(i for i, line in enumerate(lines) if line.startswith("policy"))
    rows = {}
    for line in lines[begin + 1:]:
        if not line:
            break
        rows[line.split()[0]] = line.split()[1:]
    return rows


def test_compares_all_policies_on_a_trace(folder):
    result = simulate(folder, "--config", "proxy.yaml", "--trace", "trace.csv")
    assert result.returncode == 0, result.stderr
    rows = table(result.stdout)
    assert list(rows) == POLICIES
    assert {row[0] for row in rows.values()} == {"300"}
    assert {row[8] for row in rows.values()} == {"0.00"}, "a slot was free while somebody waited"
    assert "replicas 1–7, concurrency_target 2, target_utilization 70 %, window 30s" in result.stdout
    assert result.stderr == "", "the progress bar is for terminals"


def test_writes_a_report_a_time_line_and_a_picture(folder):
    result = simulate(folder, "--config", "proxy.yaml", "--load", "on-off", "--high", "20",
                      "--length", "10m", "--out", "new/report")
    assert result.returncode == 0, result.stderr
    out = folder / "new/report"
    assert (out / "report.txt").read_text() == result.stdout
    with open(out / "timeline.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["policy"] for row in rows] == [p for p in POLICIES for _ in range(600)]
    assert max(int(row["desired"]) for row in rows) == 7
    texts = ["".join(element.itertext()) for element in
             xml.etree.ElementTree.parse(out / "plot.svg").iter("{http://www.w3.org/2000/svg}text")]
    for wanted in [*POLICIES, "ready replicas", "desired replicas", "requests waiting", "replicas", "waiting",
                   "5 min"]:
        assert wanted in texts


def test_takes_one_policy_and_the_settings_of_the_cluster_named(folder):
    result = simulate(folder, "--config", "two.yaml", "--cluster", "other", "--load", "poisson", "--length",
                      "60s", "--policy", "fixed", "--fixed-replicas", "4", "--start-up", "1s..3s")
    assert result.returncode == 0, result.stderr
    assert list(table(result.stdout)) == ["fixed"]
    assert table(result.stdout)["fixed"][1] == "240"
    assert "replicas 1–3" in result.stdout and "start-up 1s..3s" in result.stdout


def test_says_the_same_for_the_same_seed(folder):
    arguments = ["--config", "proxy.yaml", "--load", "poisson", "--length", "5m", "--exponential", "--start-up",
                 "1s..9s"]
    first, second, other = (simulate(folder, *arguments, "--seed", seed).stdout for seed in "112")
    assert first == second != other


@pytest.mark.parametrize("arguments, message", [
    ([], "--config is required: the proxy's configuration, with the cluster to simulate"),
    (["--config", "proxy.yaml"], "expected either --trace FILE or --load SHAPE"),
    (["--config", "proxy.yaml", "--trace", "trace.csv", "--load", "ramp"],
     "expected either --trace FILE or --load SHAPE"),
    (["--config", "none.yaml", "--load", "ramp"], "none.yaml"),
    (["--config", "proxy.yaml", "--trace", "none.csv"],
     "none.csv: expected a file that can be read and is not empty"),
    (["--config", "proxy.yaml", "--trace", "bad.csv"],
     'bad.csv:3: expected seconds, 0 or more, got "2,x"'),
    (["--config", "two.yaml", "--load", "ramp"],
     'two.yaml: expected --cluster to be one of model, other, got ""'),
    (["--config", "proxy.yaml", "--cluster", "no", "--load", "ramp"],
     'proxy.yaml: expected --cluster to be one of model, got "no"'),
    (["--config", "proxy.yaml", "--load", "ramp", "--start-up", "10"],
     '--start-up: expected a time with its unit, like 10s, got "10"'),
    (["--config", "proxy.yaml", "--load", "ramp", "--start-up", "9s..3s"],
     '--start-up: expected the shorter time first, got "9s..3s"'),
    (["--config", "proxy.yaml", "--load", "ramp", "--length", "0s"],
     '--length: expected more than nothing, got "0s"'),
    (["--config", "proxy.yaml", "--load", "ramp", "--out", "proxy.yaml/x"], "proxy.yaml/x: expected a folder"),
    (["--config", "proxy.yaml", "--load", "circle"], "--load"),
    (["--config", "proxy.yaml", "--load", "ramp", "--policy", "magic"], "--policy"),
    (["--nonsense"], "--nonsense"),
])
def test_says_what_is_wrong(folder, arguments, message):
    (folder / "bad.csv").write_text("arrival_seconds,service_seconds\n1,1\n2,x\n")
    result = simulate(folder, *arguments)
    assert result.returncode == 1
    assert message in result.stderr


def test_names_the_place_of_a_mistake_in_the_configuration(folder):
    (folder / "bad.yaml").write_text(CONFIG.replace("window: 30s", "window: 30"))
    result = simulate(folder, "--config", "bad.yaml", "--load", "ramp")
    assert result.returncode == 1
    assert result.stderr.startswith("bad.yaml:12:")


def test_answers_help_and_version(folder):
    assert "--trace" in simulate(folder, "--help").stdout
    assert simulate(folder, "--version").stdout.startswith("penstock-sim ")
