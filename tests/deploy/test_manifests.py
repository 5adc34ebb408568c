"""The manifests of deploy/kubernetes, without a cluster.

Promised: each variant is valid by the published schemas of the oldest and the newest Kubernetes that it is for, and
its parts agree: selectors with labels, ports with ports, the time to end with the time-outs, the HPA's target with the
proxy's settings; nothing runs as root or writes to its image; admin and scaler ports are closed to most. The images
hold every library that the programs need.

Shown: by the schemas in the package kubernetes-validate, which scripts/setup.sh --test puts into build/test-venv (KEDA's
ScaledObject has none there), and by the checks of checks.py; each check finds the mistake that it is for.
"""

import json
import os
import re
import shutil
import subprocess

import pytest
import yaml

from checks import problems
from manifests import KUBERNETES, ROOT, VARIANTS, Manifests, container, name_of, pod_of

VENV = ROOT / "build" / "test-venv" / "bin" / "python"
BIN = os.environ.get("PENSTOCK_BIN_DIR", str(ROOT / "build" / "debug" / "bin"))
# preStop's sleep came on by default with the first.
KUBERNETES_VERSIONS = ("1.30", "1.37")


def schema_problems(documents, version):
    known = [document for document in documents if document["kind"] != "ScaledObject"]
    return subprocess.run(
        [VENV, ROOT / "tests" / "deploy" / "validate_schemas.py", version], input=json.dumps(known),
        capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_is_valid_by_the_schemas(variant, version):
    assert not schema_problems(Manifests(variant).documents, version)


def test_the_schemas_find_a_mistake():
    def misspell(m):
        container(m.get("Deployment", "penstock-proxy"), "proxy")["readynessProbe"] = {}
    assert "readynessProbe" in schema_problems(Manifests("base").changed(misspell).documents, "1.37")


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_parts_of_a_variant_agree(variant):
    assert not problems(Manifests(variant))


def deployment(name):
    return lambda m: m.get("Deployment", name)["spec"]


def pod(name):
    return lambda m: pod_of(m.get("Deployment", name))


def one(name, container_):
    return lambda m: container(m.get("Deployment", name), container_)


def spec(kind, name):
    return lambda m: m.get(kind, name)["spec"]


MODEL, PROXY = "penstock-model", "penstock-proxy"
MISTAKES = [  # variant, whose, key path in it, what is put there, what is said
    ("base", deployment(MODEL), "selector.matchLabels", {"app": "x"}, "its own pods"),
    ("base", spec("Service", PROXY), "selector", {"app": "x"}, "selects no pods"),
    ("base", spec("PodDisruptionBudget", MODEL), "selector.matchLabels", {"a": "b"}, "selects no"),
    ("base", spec("NetworkPolicy", MODEL), "ingress.0.from.0.podSelector.matchLabels", {"a": "b"},
     "do not exist"),
    ("base", one(PROXY, "proxy"), "readinessProbe.httpGet.port", "adm", "readinessProbe"),
    ("base", spec("Service", PROXY), "ports.0.targetPort", "web", "unknown port"),
    ("base", spec("Service", MODEL), "ports.0.port", 80, "translate"),
    ("base", spec("Service", MODEL), "clusterIP", "10.0.0.1", "headless"),
    ("base", spec("NetworkPolicy", PROXY), "ingress.1.ports.0.port", "web", "unknown port"),
    ("base", lambda m: m.proxy_config, "admin.address", "127.0.0.1:9901", "admin port"),
    ("base", lambda m: m.proxy_config, "external_scaler.address", "0.0.0.0:9903", "scaler port"),
    ("base", lambda m: m.model_config, "penstock.upstream", "127.0.0.1:80", "model server at"),
    ("base", lambda m: m.cluster, "replicas.dns.name", "model.default.svc", "headless"),
    ("base", lambda m: m.cluster, "replicas.dns.port", 80, "another port"),
    ("base", lambda m: m.route, "cluster", "other", "no cluster"),
    ("base", pod(PROXY), "volumes.0.configMap.name", "x", "ConfigMap"),
    ("base", one(PROXY, "proxy"), "volumeMounts.0.mountPath", "/etc", "where it looks"),
    ("base", one(MODEL, "sidecar"), "volumeMounts.0.mountPath", "/etc", "where it looks"),
    ("base", pod(PROXY), "terminationGracePeriodSeconds", 30, "proxy is killed"),
    ("base", pod(MODEL), "terminationGracePeriodSeconds", 660, "model's pod is killed"),
    ("base", lambda m: m.route, "timeout", "20m", "still waits"),
    ("base", one(MODEL, "server"), "restartPolicy", None, "stopped together"),
    ("base", one(MODEL, "sidecar"), "lifecycle.preStop.sleep.seconds", 30, "DNS still names"),
    ("base", one(PROXY, "proxy"), "lifecycle.preStop.sleep.seconds", 1, "still come"),
    ("base", lambda m: m.proxy_config, "drain_timeout", "30s", "refused although"),
    ("base", lambda m: m.proxy_config, "drain_timeout", "660s", "proxy is killed"),
    ("base", one(MODEL, "server"), "startupProbe",
     {"httpGet": {"path": "/health", "port": "server"}}, "while requests still wait"),
    ("base", one(MODEL, "server"), "startupProbe.failureThreshold", 30, "while requests still wait"),
    ("base", pod(MODEL), "securityContext.runAsNonRoot", False, "root"),
    ("base", pod(MODEL), "securityContext.seccompProfile", {}, "seccomp"),
    ("base", pod(PROXY), "automountServiceAccountToken", True, "token"),
    ("base", one(MODEL, "server"), "securityContext.allowPrivilegeEscalation", True, "privileges"),
    ("base", one(PROXY, "proxy"), "securityContext.readOnlyRootFilesystem", False, "write"),
    ("base", one(PROXY, "proxy"), "securityContext.capabilities", {"drop": ["KILL"]}, "capabil"),
    ("base", one(PROXY, "proxy"), "resources.limits", {}, "bound on memory"),
    ("base", spec("NetworkPolicy", PROXY), "ingress.0.ports.0.port", "admin", "for everybody"),
    ("base", spec("NetworkPolicy", PROXY), "ingress.1.from", [], "for everybody"),
    ("base", spec("NetworkPolicy", MODEL), "ingress.0.ports.0.port", "server", "past the gate"),
    ("keda", spec("NetworkPolicy", "penstock-proxy-scaler"), "ingress.0.from", [], "everybody"),
    ("keda", spec("NetworkPolicy", "penstock-proxy-scaler"), "ingress.0.from.0",
     {"namespaceSelector": {}}, "wider"),
    ("base", deployment(PROXY), "replicas", 2, "refuses"),
    ("base", lambda m: m.cluster, "concurrency_target", 1, "never reached"),
    ("hpa", deployment(MODEL), "replicas", 1, "sets back"),
    ("hpa", lambda m: m.cluster, "concurrency_target", 5, "target is not"),
    ("hpa", lambda m: m.cluster["autoscaling"], "target_utilization", 80, "target is not"),
    ("hpa", spec("HorizontalPodAutoscaler", MODEL), "scaleTargetRef.name", "x", "scales nothing"),
    ("hpa", lambda m: m.cluster, "name", "other", "another cluster"),
    ("hpa", lambda m: m.cluster["autoscaling"], "max_replicas", 9, "bounds"),
    ("keda", lambda m: m.cluster["autoscaling"], "min_replicas", 1, "bounds"),
    ("keda", spec("ScaledObject", MODEL), "triggers.0.metadata.scalerAddress",
     "penstock-proxy.penstock.svc.cluster.local:9902", "leads nowhere"),
    ("keda", spec("Service", "penstock-proxy-scaler"), "clusterIP", "None", "turns"),
    ("keda", spec("ScaledObject", MODEL), "triggers.0.metadata.cluster", "other", "metadata"),
]


@pytest.mark.parametrize("variant, whose, path, value, said", MISTAKES,
                         ids=[f"{index}-{mistake[2]}" for index, mistake in enumerate(MISTAKES)])
def test_a_mistake_is_found(variant, whose, path, value, said):
    def change(m):
        at = whose(m)
        *way, last = [int(key) if key.isdigit() else key for key in path.split(".")]
        for key in way:
            at = at[key]
        at[last] = value
    found = problems(Manifests(variant).changed(change))
    assert any(said in problem for problem in found), found


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_proxy_takes_its_configuration(variant, tmp_path):
    file = tmp_path / "penstock-proxy.yaml"
    file.write_text(Manifests(variant).files["penstock-proxy.yaml"])
    run = subprocess.run([os.path.join(BIN, "penstock-proxy"), "-c", file, "--mode", "validate"],
                         capture_output=True, text=True, timeout=60, check=False)
    assert run.returncode == 0, run.stderr


def test_the_sidecar_takes_its_configuration(tmp_path):
    (tmp_path / "config.yaml").write_text(Manifests("base").files["config.yaml"])
    sidecar = subprocess.Popen(
        [os.path.join(BIN, "penstock-sidecar"), "--model", tmp_path, "--listen", "127.0.0.1:0"],
        stderr=subprocess.PIPE, text=True)
    try:
        assert json.loads(sidecar.stderr.readline())["message"] == "listening"
    finally:
        sidecar.terminate()
        sidecar.communicate(timeout=60)


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
@pytest.mark.parametrize("variant", VARIANTS)
def test_kustomize_puts_together_the_same(variant):
    built = subprocess.run(["kubectl", "kustomize", KUBERNETES / variant], capture_output=True,
                           text=True, timeout=60, check=True).stdout

    documents = list(yaml.safe_load_all(built))

    def names(of, hash_=""):
        return sorted((each["kind"], re.sub(hash_, "", name_of(each))) for each in of)
    # A generated name ends with the hash of what is in it.
    assert names((each for each in documents if each["kind"] == "ConfigMap"), "-[a-z0-9]{10}$") == \
        names(Manifests(variant).all("ConfigMap"))
    assert names(each for each in documents if each["kind"] != "ConfigMap") == \
        names(each for each in Manifests(variant).documents if each["kind"] != "ConfigMap")
    for each in documents:
        if each["kind"] != "Namespace":
            assert each["metadata"]["namespace"] == "penstock"


@pytest.mark.parametrize("program", ["penstock-proxy", "penstock-sidecar"])
def test_the_image_has_the_libraries_that_a_program_needs(program):
    libraries = re.findall(r"=> (/\S+)", subprocess.run(
        ["ldd", os.path.join(BIN, program)], capture_output=True, text=True, check=True).stdout)
    assert libraries
    found = {os.path.realpath(library) for library in libraries}
    # Some packages still say /lib for what lies in /usr/lib.
    found |= {path.removeprefix("/usr") for path in found}
    owners = subprocess.run(["dpkg-query", "--search", *found], capture_output=True, text=True,
                            check=False).stdout
    needed = set(re.findall(r"^(\S+?)(?::\S+)?: ", owners, re.M)) - {"libc6", "libgcc-s1"}
    assert needed
    assert not needed - set((ROOT / "deploy" / "Dockerfile").read_text().split())
