"""Checks of every pod and of the objects around the API's pods; each yields what is wrong."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deploy.kubernetes.check.chart import RELEASE, Document

Complaints = Iterator[str]
USER = 10001
# The Secrets that each pod may use, by the name of its Deployment or Job.
SECRETS = {
    "hiring-api": {"hiring-api"},
    "hiring-migrate": {"hiring-migrate", "hiring-pipeline", "hiring-api", "hiring-dagster"},
    "dagster-dagster-webserver": {"hiring-dagster"},
    "dagster-daemon": {"hiring-dagster"},
    "dagster-dagster-user-deployments-hiring": {"hiring-pipeline", "hiring-dagster"},
    "dagster-run": {"hiring-pipeline", "hiring-dagster"},
}
# They start Jobs for runs; no other pod calls the Kubernetes API.
ASK_KUBERNETES = {"dagster-dagster-webserver", "dagster-daemon"}
# Names whose values are secrets.
SECRET_NAME = re.compile("password|secret_access|access_key|token|api_key|webhook|pg_url", re.IGNORECASE)
HARDENED = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "readOnlyRootFilesystem": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


@dataclass(frozen=True)
class Pod:
    """A pod as a Deployment or a Job makes it."""

    name: str
    kind: str
    labels: Mapping[str, str]
    spec: Mapping[str, Any]

    @property
    def containers(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Its containers, init containers included, each with a name for messages."""
        for each in [*self.spec.get("initContainers", []), *self.spec["containers"]]:
            yield f"{self.name}/{each['name']}", each


@dataclass(frozen=True)
class Manifests:
    """Everything that is applied; `secrets` holds the required Secrets with their keys, without values."""

    documents: Sequence[Document]
    secrets: Mapping[str, Mapping[str, str]]

    def of(self, kind: str) -> list[Document]:
        """Return the objects of a kind."""
        return [each for each in self.documents if each["kind"] == kind]

    @property
    def pods(self) -> list[Pod]:
        """The pods of all Deployments and Jobs."""
        return [
            Pod(each["metadata"]["name"], each["kind"], template["metadata"]["labels"], template["spec"])
            for each in self.documents
            if (template := each.get("spec", {}).get("template"))
        ]

    @property
    def containers(self) -> list[tuple[str, Mapping[str, Any]]]:
        """The containers of all pods."""
        return [each for pod in self.pods for each in pod.containers]

    @property
    def api(self) -> Pod:
        """The API's pod."""
        (api,) = (pod for pod in self.pods if pod.name == "hiring-api")
        return api


def _images(manifests: Manifests) -> Complaints:
    for name, container in manifests.containers:
        _, _, tag = container["image"].rpartition("/")[2].partition(":")
        if tag in ("", "latest"):
            yield f"{name} runs {container['image']}"


def _hardened(manifests: Manifests) -> Complaints:
    for name, container in manifests.containers:
        given = container.get("securityContext") or {}
        for setting, wanted in HARDENED.items():
            if given.get(setting) != wanted:
                yield f"{name} has {setting} {given.get(setting)}"
        if given.get("privileged"):
            yield f"{name} is privileged"
    for pod in manifests.pods:
        for setting in ("hostNetwork", "hostPID", "hostIPC"):
            if pod.spec.get(setting):
                yield f"{pod.name} has {setting}"


def _writable(manifests: Manifests) -> Complaints:
    for pod in manifests.pods:
        volumes = {each["name"]: each for each in pod.spec.get("volumes", [])}
        for each in volumes.values():
            if "emptyDir" in each and not each["emptyDir"].get("sizeLimit"):
                yield f"{pod.name} has {each['name']} without a limit"
        for name, container in pod.containers:
            for mount in container.get("volumeMounts", []):
                volume = volumes[mount["name"]]
                if "configMap" not in volume and (mount["mountPath"] != "/tmp" or "emptyDir" not in volume):  # noqa: S108 - the one place there is
                    yield f"{name} can write to {mount['mountPath']}"


def _sized(manifests: Manifests) -> Complaints:
    for name, container in manifests.containers:
        requests, limits = (container.get("resources", {}).get(kind, {}) for kind in ("requests", "limits"))
        for what in ("cpu", "memory"):
            if not (requests.get(what) and limits.get(what)):
                yield f"{name} has no request or no limit of {what}"
        if requests.get("memory") != limits.get("memory"):
            yield f"{name} may use more memory than it requests"


def _tokens(manifests: Manifests) -> Complaints:
    without = {
        each["metadata"]["name"]
        for each in manifests.of("ServiceAccount")
        if each.get("automountServiceAccountToken") is False
    }
    for pod in manifests.pods:
        mounted = pod.spec.get("automountServiceAccountToken", pod.spec.get("serviceAccountName") not in without)
        if mounted and pod.name not in ASK_KUBERNETES:
            yield f"{pod.name} gets a token for the Kubernetes API"


def _no_values(manifests: Manifests) -> Complaints:
    for name, container in manifests.containers:
        for each in container.get("env", []):
            if SECRET_NAME.search(each["name"]) and each.get("value"):
                yield f"{name} has {each['name']} in plain text"
    for each in manifests.of("ConfigMap"):
        for key in filter(SECRET_NAME.search, each.get("data", {})):
            yield f"{each['metadata']['name']} has {key} in plain text"
    given = [f"{name}/{key}" for name, keys in manifests.secrets.items() for key, value in keys.items() if value]
    if given:
        yield f"secrets.yaml has values of {given}"
    for each in manifests.of("Secret"):
        yield f"{each['metadata']['name']} would be applied with the manifests"


def _references(manifests: Manifests) -> Complaints:
    config_maps = {each["metadata"]["name"] for each in manifests.of("ConfigMap")}
    for pod in manifests.pods:
        for name, container in pod.containers:
            for secret, key in _secrets_of(container):
                if secret not in manifests.secrets or key not in (None, *manifests.secrets[secret]):
                    yield f"{name} needs {secret}/{key or ''}, which secrets.yaml does not list"
                if secret not in SECRETS.get(pod.name, set()):
                    yield f"{name} gets {secret}"
            for each in container.get("envFrom", []):
                if "configMapRef" in each and each["configMapRef"]["name"] not in config_maps:
                    yield f"{name} needs {each['configMapRef']['name']}"


def _secrets_of(container: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    for each in container.get("env", []):
        if reference := each.get("valueFrom", {}).get("secretKeyRef"):
            yield reference["name"], reference["key"]
    for each in container.get("envFrom", []):
        reference = each.get("secretRef")
        if reference and not reference.get("optional"):
            yield reference["name"], None


def _probes(manifests: Manifests) -> Complaints:
    for pod in manifests.pods:
        for container in pod.spec["containers"]:
            for probe in ("startupProbe", "livenessProbe"):
                if pod.kind == "Deployment" and not container.get(probe):
                    yield f"{pod.name} has no {probe}"
    (api,) = manifests.api.spec["containers"]
    wanted = {"startupProbe": "/health/started", "livenessProbe": "/health/live", "readinessProbe": "/health/started"}
    for probe, path in wanted.items():
        if (found := api.get(probe, {}).get("httpGet", {}).get("path")) != path:
            yield f"the API's {probe} asks {found}"


def _selected(manifests: Manifests) -> Complaints:
    labels = manifests.api.labels.items()
    selectors: dict[str, Callable[[Mapping[str, Any]], Mapping[str, str]]] = {
        "Service": lambda spec: spec["selector"],
        "PodDisruptionBudget": lambda spec: spec["selector"]["matchLabels"],
        "NetworkPolicy": lambda spec: spec["podSelector"]["matchLabels"],
    }
    for kind, selector in selectors.items():
        if not any(selector(each["spec"]).items() <= labels for each in manifests.of(kind)):
            yield f"no {kind} selects the API's pods"
    dagster = {"app.kubernetes.io/instance": RELEASE}
    for pod in manifests.pods:
        if pod.name.startswith(RELEASE) and not dagster.items() <= pod.labels.items():
            yield f"{pod.name} lacks the label of Dagster's pods, so no network policy covers it"


def _available(manifests: Manifests) -> Complaints:
    (deployment,) = (each for each in manifests.of("Deployment") if each["metadata"]["name"] == "hiring-api")
    strategy = deployment["spec"]["strategy"]["rollingUpdate"]
    if strategy["maxUnavailable"] != 0:
        yield "a rollout removes pods before new ones are ready"
    if "replicas" in deployment["spec"]:
        yield "applying it again overrides the autoscaler"
    (scaler,) = (each["spec"] for each in manifests.of("HorizontalPodAutoscaler"))
    if scaler["scaleTargetRef"]["name"] != "hiring-api" or scaler["minReplicas"] < 2:
        yield f"{scaler['scaleTargetRef']['name']} has {scaler['minReplicas']} pods at least"
    (budget,) = (each["spec"] for each in manifests.of("PodDisruptionBudget"))
    if budget.get("maxUnavailable") != 1:
        yield "a node cannot be drained, or more than one pod is taken away at once"


def _closed(manifests: Manifests) -> Complaints:
    policies = {each["metadata"]["name"]: each["spec"] for each in manifests.of("NetworkPolicy")}
    rules = policies["hiring-api"]["egress"]
    ports = sorted((port["protocol"], port["port"]) for rule in rules for port in rule.get("ports", []))
    if not all(rule.get("ports") for rule in rules):
        yield "the API can reach anything"
    elif ports != [("TCP", 53), ("TCP", 5432), ("UDP", 53)]:
        yield f"the API reaches {ports}"
    own = {"podSelector": {"matchLabels": {"app.kubernetes.io/instance": RELEASE}}}
    if [rule.get("from") for rule in policies[RELEASE]["ingress"]] != [[own]]:
        yield "pods other than Dagster's own can reach them"


CHECKS: list[tuple[str, Callable[[Manifests], Complaints]]] = [
    ("Every container runs a pinned image version, never latest", _images),
    ("Every container runs as non-root, without capabilities or escalation, on a read-only root", _hardened),
    ("Containers can write to /tmp only, and its size is limited", _writable),
    ("Every container has CPU and memory requests and limits", _sized),
    ("Only webserver and daemon get a token for the Kubernetes API", _tokens),
    ("No file contains a secret value", _no_values),
    ("Every pod gets only the Secrets that it needs, and secrets.yaml lists all of them", _references),
    ("Every service has probes, and the API's do not take it out of service while the database is away", _probes),
    ("Service, disruption budget and network policies select the pods that they are for", _selected),
    ("The API never pauses: at least two pods, at most one disrupted, new ones start first", _available),
    ("The API can reach only DNS and Postgres, and Dagster's pods accept only each other", _closed),
]
