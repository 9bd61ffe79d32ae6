"""The manifests agree with the other deployments, and `make kubernetes-check` reports broken ones."""

import copy
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from api.settings import Settings
from deploy.kubernetes.check.__main__ import FOLDER, main, read_secrets, read_values
from deploy.kubernetes.check.chart import VERSION, Document, differences, make_run_job, make_with_chart
from deploy.kubernetes.check.manifests import CHECKS, Manifests
from orchestration.migrations import ROLES
from tests.deploy.docker.test_compose import bytes_of, services

PROJECT = Path(__file__).parents[3]
# Of the pods, by the task of theirs on AWS.
SIZES = {
    "hiring-api": "api",
    "dagster-dagster-webserver": "webserver",
    "dagster-daemon": "daemon",
    "dagster-dagster-user-deployments-hiring": "code",
    "dagster-run": "run",
}


def base(name: str) -> list[Document]:
    return list(yaml.safe_load_all((FOLDER / "base" / name).read_text()))


@pytest.fixture(scope="module")
def rendered() -> Manifests:
    """The manifests of base, those that the chart renders, and a run's Job."""
    files = base("kustomization.yaml")[0]["resources"]
    ours = [each for name in files for each in base(name)]
    values = read_values()
    return Manifests([*ours, *make_with_chart(values), make_run_job(values)], read_secrets())


@pytest.fixture
def manifests(rendered: Manifests) -> Manifests:
    """The same, to break."""
    return copy.deepcopy(rendered)


def find(manifests: Manifests, kind: str, name: str) -> Document:
    (found,) = (each for each in manifests.of(kind) if each["metadata"]["name"] == name)
    return found


def pod(manifests: Manifests, kind: str = "Deployment", name: str = "hiring-api") -> dict[str, Any]:
    spec: dict[str, Any] = find(manifests, kind, name)["spec"]["template"]["spec"]
    return spec


def container(manifests: Manifests, kind: str = "Deployment", name: str = "hiring-api") -> dict[str, Any]:
    found: dict[str, Any]
    (found,) = pod(manifests, kind, name)["containers"]
    return found


def complaints(manifests: Manifests) -> Iterator[str]:
    for _, check in CHECKS:
        yield from check(manifests)


def test_nothing_is_wrong_with_the_manifests(manifests: Manifests) -> None:
    assert list(complaints(manifests)) == []


def _set(place: dict[str, Any], **values: Any) -> None:
    place.update(values)


BREAKS: list[tuple[Callable[[Manifests], Any], str]] = [
    (lambda m: _set(container(m), image="registry:5000/hiring-api"), "hiring-api/api runs registry:5000/hiring-api"),
    (lambda m: _set(container(m), image="hiring-api:latest"), "hiring-api/api runs hiring-api:latest"),
    (lambda m: container(m).pop("securityContext"), "hiring-api/api has runAsNonRoot None"),
    (
        lambda m: _set(container(m)["securityContext"], readOnlyRootFilesystem=False),
        "hiring-api/api has readOnlyRootFilesystem False",
    ),
    (
        lambda m: _set(container(m)["securityContext"], capabilities={"add": ["SYS_ADMIN"], "drop": ["ALL"]}),
        "hiring-api/api has capabilities {'add': ['SYS_ADMIN'], 'drop': ['ALL']}",
    ),
    (lambda m: _set(container(m)["securityContext"], privileged=True), "hiring-api/api is privileged"),
    (lambda m: _set(pod(m), hostNetwork=True), "hiring-api has hostNetwork"),
    (
        lambda m: _set(pod(m), initContainers=[{"name": "first", "image": "busybox:1"}]),
        "hiring-api/first has runAsNonRoot None",
    ),
    (lambda m: _set(container(m)["volumeMounts"][0], mountPath="/app"), "hiring-api/api can write to /app"),
    (lambda m: pod(m)["volumes"][0].update(emptyDir={}), "hiring-api has tmp without a limit"),
    (lambda m: container(m)["resources"].pop("limits"), "hiring-api/api has no request or no limit of cpu"),
    (
        lambda m: _set(container(m)["resources"]["requests"], memory="1Mi"),
        "hiring-api/api may use more memory than it requests",
    ),
    (lambda m: pod(m).pop("automountServiceAccountToken"), "hiring-api gets a token for the Kubernetes API"),
    (
        lambda m: find(m, "ServiceAccount", "hiring-pipeline").pop("automountServiceAccountToken"),
        "dagster-dagster-user-deployments-hiring gets a token for the Kubernetes API",
    ),
    (
        lambda m: container(m, "Job", "hiring-migrate")["env"].append({"name": "PGPASSWORD", "value": "x"}),
        "hiring-migrate/migrate has PGPASSWORD in plain text",
    ),
    (
        lambda m: find(m, "ConfigMap", "hiring-settings")["data"].update(ALERT_WEBHOOK_URL="x"),
        "hiring-settings has ALERT_WEBHOOK_URL in plain text",
    ),
    (
        lambda m: m.secrets["hiring-api"].update(API_KEYS="[]"),  # type: ignore[attr-defined]
        "secrets.yaml has values of ['hiring-api/API_KEYS']",
    ),
    (
        lambda m: m.documents.append({"kind": "Secret", "metadata": {"name": "hiring-api"}}),  # type: ignore[attr-defined]
        "hiring-api would be applied with the manifests",
    ),
    (
        lambda m: m.secrets["hiring-pipeline"].pop("HIRING_LOADER_PASSWORD"),  # type: ignore[attr-defined]
        "hiring-migrate/migrate needs hiring-pipeline/HIRING_LOADER_PASSWORD, which secrets.yaml does not list",
    ),
    (
        lambda m: container(m)["envFrom"].append({"secretRef": {"name": "hiring-migrate"}}),
        "hiring-api/api gets hiring-migrate",
    ),
    (
        lambda m: _set(find(m, "ConfigMap", "hiring-settings")["metadata"], name="other"),
        "hiring-api/api needs hiring-settings",
    ),
    (lambda m: container(m, name="dagster-daemon").pop("livenessProbe"), "dagster-daemon has no livenessProbe"),
    (
        lambda m: _set(container(m)["readinessProbe"]["httpGet"], path="/health/ready"),
        "the API's readinessProbe asks /health/ready",
    ),
    (
        lambda m: _set(find(m, "Service", "hiring-api")["spec"], selector={"a": "b"}),
        "no Service selects the API's pods",
    ),
    (
        lambda m: _set(find(m, "PodDisruptionBudget", "hiring-api")["spec"]["selector"], matchLabels={"a": "b"}),
        "no PodDisruptionBudget selects the API's pods",
    ),
    (
        lambda m: _set(find(m, "NetworkPolicy", "hiring-api")["spec"]["podSelector"], matchLabels={"a": "b"}),
        "no NetworkPolicy selects the API's pods",
    ),
    (
        lambda m: find(m, "Deployment", "dagster-daemon")["spec"]["template"]["metadata"]["labels"].clear(),
        "dagster-daemon lacks the label of Dagster's pods, so no network policy covers it",
    ),
    (
        lambda m: _set(find(m, "Deployment", "hiring-api")["spec"]["strategy"]["rollingUpdate"], maxUnavailable=1),
        "a rollout removes pods before new ones are ready",
    ),
    (
        lambda m: _set(find(m, "Deployment", "hiring-api")["spec"], replicas=2),
        "applying it again overrides the autoscaler",
    ),
    (
        lambda m: _set(find(m, "HorizontalPodAutoscaler", "hiring-api")["spec"], minReplicas=1),
        "hiring-api has 1 pods at least",
    ),
    (
        lambda m: _set(find(m, "PodDisruptionBudget", "hiring-api")["spec"], maxUnavailable=0),
        "a node cannot be drained, or more than one pod is taken away at once",
    ),
    (
        lambda m: find(m, "NetworkPolicy", "hiring-api")["spec"]["egress"].append(
            {"ports": [{"protocol": "TCP", "port": 443}]}
        ),
        "the API reaches [('TCP', 53), ('TCP', 443), ('TCP', 5432), ('UDP', 53)]",
    ),
    (
        lambda m: find(m, "NetworkPolicy", "hiring-api")["spec"]["egress"].append({}),
        "the API can reach anything",
    ),
    (
        lambda m: find(m, "NetworkPolicy", "dagster")["spec"]["ingress"].append({}),
        "pods other than Dagster's own can reach them",
    ),
]


@pytest.mark.parametrize(("break_it", "complaint"), BREAKS, ids=[complaint for _, complaint in BREAKS])
def test_the_check_reports_what_is_broken(
    manifests: Manifests, break_it: Callable[[Manifests], Any], complaint: str
) -> None:
    """A check that never finds anything would stay green."""
    break_it(manifests)

    assert complaint in list(complaints(manifests))


def test_what_the_chart_renders_differently_is_reported_and_what_it_adds_is_not() -> None:
    expected = {"image": "a:1", "env": [{"name": "A"}, {"name": "B"}], "port": 1}
    found = {"image": "a:2", "env": [{"name": "A", "value": "1"}], "port": 1, "command": ["a"]}

    assert list(differences(expected, found, "web")) == [
        "web.image is a:2, not a:1",
        "web.env has nothing like {'name': 'B'}",
    ]
    assert list(differences(expected, {**expected, "command": ["a"]})) == []


def test_images_and_chart_are_of_the_versions_that_pyproject_states(rendered: Manifests) -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]

    tags = {each["image"].rpartition(":")[2] for _, each in rendered.containers}
    assert tags == {f"v{project['version']}"}
    assert f"dagster=={VERSION}" in project["optional-dependencies"]["orchestration"]
    for path in (
        FOLDER / "values.yaml",
        PROJECT / ".github" / "workflows" / "test.yml",
        PROJECT / "docs" / "deployment.md",
    ):
        assert f"version {VERSION}" in path.read_text(), path


def test_pods_have_the_sizes_of_aws(rendered: Manifests) -> None:
    variables = (PROJECT / "deploy" / "aws" / "variables.tf").read_text()
    pods = {each.name: each for each in rendered.pods}
    for name, task in SIZES.items():
        (main,) = pods[name].spec["containers"]
        sizes = re.findall(rf"\b{task} += optional\(.*, {{ cpu = (\d+), memory = (\d+) }}\)", variables)
        ((cpu, memory),) = sizes
        assert _cores(main["resources"]["requests"]["cpu"]) == int(cpu) / 1024, name
        assert bytes_of(main["resources"]["limits"]["memory"].rstrip("i")) == int(memory) << 20, name


def test_pods_write_as_much_to_tmp_as_their_services_with_compose(rendered: Manifests) -> None:
    pods = {each.name: each for each in rendered.pods}
    for name, service in {"hiring-api": "api", "hiring-migrate": "migrate", "dagster-run": "code-server"}.items():
        (volume,) = (each for each in pods[name].spec["volumes"] if each["name"] == "tmp")
        (tmpfs,) = services()[service]["tmpfs"]
        assert bytes_of(volume["emptyDir"]["sizeLimit"].rstrip("i")) == bytes_of(tmpfs.partition("=")[2]), name


def _cores(text: str) -> float:
    return int(text[:-1]) / 1000 if text.endswith("m") else float(text)


def test_ports_and_database_are_the_same_wherever_they_stand(rendered: Manifests) -> None:
    values, settings = read_values(), find(rendered, "ConfigMap", "hiring-settings")["data"]
    (patch,) = yaml.safe_load((FOLDER / "example" / "kustomization.yaml").read_text())["patches"]
    example = yaml.safe_load(patch["patch"])["data"]
    postgresql = values["postgresql"]

    assert postgresql["postgresqlHost"] == example["PGHOST"]
    assert str(postgresql["service"]["port"]) == settings["PGPORT"]
    assert postgresql["postgresqlParams"]["sslmode"] == settings["PGSSLMODE"]
    assert container(rendered)["ports"][0]["containerPort"] == Settings.model_fields["api_port"].default
    (code,) = values["dagster-user-deployments"]["deployments"]
    assert str(code["port"]) == services()["webserver"]["environment"]["DAGSTER_CODE_PORT"]
    assert code["initContainers"][0]["image"] == f"{code['image']['repository']}:{code['image']['tag']}"


def test_every_variable_is_one_that_compose_sets_too(rendered: Manifests) -> None:
    (patch,) = yaml.safe_load((FOLDER / "example" / "kustomization.yaml").read_text())["patches"]
    known = {name for each in services().values() for name in each.get("environment", {})} | {"DAGSTER_STORAGE"}
    named = {*find(rendered, "ConfigMap", "hiring-settings")["data"], *yaml.safe_load(patch["patch"])["data"]}
    named |= {each["name"] for each in container(rendered, "Job", "hiring-migrate")["env"]}
    named |= {key for name, keys in read_secrets().items() if name != "hiring-dagster" for key in keys}

    assert named <= known


def test_the_migration_is_given_the_password_of_every_role(rendered: Manifests) -> None:
    migrate, secrets = container(rendered, "Job", "hiring-migrate"), read_secrets()
    given = {each["name"] for each in migrate["env"]} | secrets["hiring-migrate"].keys()

    assert {f"{role.upper()}_PASSWORD" for role in ROLES} | {"DAGSTER_PASSWORD", "PGUSER", "PGPASSWORD"} <= given


def test_without_podman_and_the_chart_each_is_skipped_in_a_line_that_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.delenv("DAGSTER_CHART", raising=False)
    monkeypatch.setenv("PODMAN", str(tmp_path / "podman"))
    monkeypatch.setattr("deploy.kubernetes.check.tools.Tools.kustomize", lambda _tools, _folder: _everything())
    monkeypatch.setattr("deploy.kubernetes.check.tools.Tools.invalid", lambda _tools, _documents: iter(()))
    with pytest.raises(SystemExit) as end:
        main()

    said = capsys.readouterr().out.splitlines()
    assert end.value.code == 0
    assert said[0].startswith("- Rendering Dagster's chart skipped: DAGSTER_CHART names none. `helm pull dagster")
    assert "- Running the pods skipped: there is no `podman` here; PODMAN names another" in said


def _everything() -> list[Document]:
    return [each for name in base("kustomization.yaml")[0]["resources"] for each in base(name)]
