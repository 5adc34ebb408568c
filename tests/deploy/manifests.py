"""The manifests of deploy/kubernetes as kustomize puts them together, and what else they go with."""

import copy
import pathlib
import re

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "deploy" / "kubernetes"
VARIANTS = ("base", "keda", "hpa")


class Manifests:
    """A variant's documents, with the two configurations that its ConfigMaps hold."""

    def __init__(self, variant):
        self.documents = []
        self.files = {}
        self._gather(KUBERNETES / variant)
        self.proxy_config = yaml.safe_load(self.files["penstock-proxy.yaml"])
        self.model_config = yaml.safe_load(self.files["config.yaml"])
        self.cluster = self.proxy_config["clusters"][0]
        self.route = self.proxy_config["listeners"][0]["routes"][0]

    def _gather(self, folder):
        """The little of kustomize that the tree uses."""
        kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
        unknown = set(kustomization) - {"apiVersion", "kind", "namespace", "resources",
                                        "configMapGenerator"}
        assert not unknown, f"{folder}: this test does not know {unknown}"
        self.namespace = kustomization["namespace"]
        for resource in kustomization["resources"]:
            path = folder / resource
            if path.is_dir():
                self._gather(path.resolve())
            else:
                self.documents += [document for document in yaml.safe_load_all(path.read_text())]
        for generator in kustomization.get("configMapGenerator", []):
            data = {}
            for name in generator["files"]:
                path = folder / name
                data[path.name] = self.files[path.name] = path.read_text()
            self.documents.append({"apiVersion": "v1", "kind": "ConfigMap", "data": data,
                                   "metadata": {"name": generator["name"]}})

    def changed(self, change):
        """A copy with a mistake in it."""
        other = copy.deepcopy(self)
        change(other)
        return other

    def all(self, *kinds):
        return [document for document in self.documents if document["kind"] in kinds]

    def get(self, kind, name):
        return next((document for document in self.all(kind) if name_of(document) == name), None)

    def pods(self, selector):
        """The Deployments whose pods a matchLabels-like selector takes."""
        return [deployment for deployment in self.all("Deployment")
                if selector and selector.items() <= labels_of(deployment).items()]


def name_of(document):
    return document["metadata"]["name"]


def labels_of(deployment):
    return deployment["spec"]["template"]["metadata"]["labels"]


def pod_of(deployment):
    return deployment["spec"]["template"]["spec"]


def containers(deployment):
    pod = pod_of(deployment)
    return pod.get("initContainers", []) + pod["containers"]


def container(deployment, name):
    return next(each for each in containers(deployment) if each["name"] == name)


def ports(container_or_deployment):
    """Name -> number."""
    each = ([container_or_deployment] if "image" in container_or_deployment
            else containers(container_or_deployment))
    return {port["name"]: port["containerPort"] for one in each for port in one.get("ports", [])}


def option(container_, name):
    """The value of --name=value among a container's arguments."""
    return next(argument.partition("=")[2] for argument in container_["args"]
                if argument.startswith(f"--{name}="))


def seconds(text):
    number, unit = re.fullmatch(r"(\d+)(ms|s|m|h)", text).groups()
    return int(number) * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit]
