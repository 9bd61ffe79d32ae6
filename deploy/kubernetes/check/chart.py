"""What Dagster's chart renders from values.yaml, without the chart, and the Job that the launcher makes of a run.

make_with_chart imitates the chart as far as the checks look; where the chart is available, unlike_chart compares them.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

RELEASE = "dagster"
NAMESPACE = "hiring"
VERSION = "1.13.27"
# The chart's default, which does not exist in the image. The code server, which the chart gives no dagster.yaml, would
# otherwise read the image's own and want Dagster's password.
HOME = "/opt/dagster/dagster_home"

Document = dict[str, Any]


def instance_config(values: Mapping[str, Any]) -> Document:
    """Return the dagster.yaml that the chart writes."""
    daemon, postgresql = values["dagsterDaemon"], values["postgresql"]
    launcher = dict(values["runLauncher"]["config"]["k8sRunLauncher"])
    database = {
        "postgres_db": {
            "username": postgresql["postgresqlUsername"],
            "password": {"env": "DAGSTER_PG_PASSWORD"},
            "hostname": postgresql["postgresqlHost"],
            "db_name": postgresql["postgresqlDatabase"],
            "port": postgresql["service"]["port"],
            "params": postgresql["postgresqlParams"],
        }
    }
    for sources in ("envConfigMaps", "envSecrets"):
        launcher[sources] = [each["name"] for each in launcher[sources]]
    launcher["runK8sConfig"] = _in_snake_case(launcher["runK8sConfig"])
    return {
        **{
            storage: {"module": f"dagster_postgres.{module}", "class": name, "config": database}
            for storage, module, name in (
                ("schedule_storage", "schedule_storage", "PostgresScheduleStorage"),
                ("run_storage", "run_storage", "PostgresRunStorage"),
                ("event_log_storage", "event_log", "PostgresEventLogStorage"),
            )
        },
        "run_launcher": {
            "module": "dagster_k8s",
            "class": values["runLauncher"]["type"],
            "config": {
                "load_incluster_config": True,
                "job_namespace": NAMESPACE,
                "service_account_name": RELEASE,
                "dagster_home": HOME,
                "instance_config_map": f"{RELEASE}-instance",
                "postgres_password_secret": values["global"]["postgresqlSecretName"],
                **_in_snake_case(launcher),
            },
        },
        "run_coordinator": daemon["runCoordinator"]["config"]["customRunCoordinator"],
        "compute_logs": {
            "module": "dagster._core.storage.noop_compute_log_manager",
            "class": values["computeLogManager"]["type"],
        },
        "python_logs": _in_snake_case(values["pythonLogs"]),
        "run_monitoring": _in_snake_case(daemon["runMonitoring"]),
        "sensors": _in_snake_case(daemon["sensors"]),
        "telemetry": values["telemetry"],
        "retention": {name: _in_snake_case(values["retention"][name]) for name in ("schedule", "sensor")},
        **values["additionalInstanceConfig"],
    }


def make_with_chart(values: Mapping[str, Any]) -> list[Document]:
    """Return the objects that the chart renders, as far as the checks look at them."""
    password = values["global"]["postgresqlSecretName"]
    (code,) = values["dagster-user-deployments"]["deployments"]
    files = [
        {"name": "dagster-instance", "mountPath": f"{HOME}/dagster.yaml", "subPath": "dagster.yaml"},
        {"name": "dagster-workspace-yaml", "mountPath": "/dagster-workspace/"},
    ]
    volumes = [
        {"name": "dagster-instance", "configMap": {"name": f"{RELEASE}-instance"}},
        {"name": "dagster-workspace-yaml", "configMap": {"name": f"{RELEASE}-workspace-yaml"}},
    ]
    account = values["dagster-user-deployments"]["serviceAccount"]["name"]
    port = values["dagsterWebserver"]["service"]["port"]
    workspace = "-w /dagster-workspace/workspace.yaml"
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"{RELEASE}-instance"},
            "data": {"dagster.yaml": yaml.safe_dump(instance_config(values))},
        },
        _deployment(f"{RELEASE}-dagster-webserver", values["dagsterWebserver"], password, spec={
            "serviceAccountName": RELEASE, "volumes": volumes,
        }, container={
            "name": "dagster",
            "command": ["/bin/bash", "-c", f"dagster-webserver -h 0.0.0.0 -p {port} {workspace}"],
            "volumeMounts": files,
        }),
        _deployment(f"{RELEASE}-daemon", values["dagsterDaemon"], password, spec={
            "serviceAccountName": RELEASE, "volumes": volumes,
        }, container={
            "name": "dagster",
            "command": ["/bin/bash", "-c", f"dagster-daemon run {workspace}"],
            "volumeMounts": files,
        }),
        _deployment(f"{RELEASE}-dagster-user-deployments-{code['name']}", code, password, spec={
            "serviceAccountName": account, "initContainers": code["initContainers"],
        }, container={
            "name": "dagster-user-deployments",
            "args": ["dagster", "api", "grpc", "-h", "0.0.0.0", "-p", str(code["port"]), *code["dagsterApiGrpcArgs"]],  # noqa: S104 - in its pod
        }),
    ]  # fmt: skip


def make_run_job(values: Mapping[str, Any]) -> Document:
    """Return the Job that the launcher makes of a run."""
    # Dagster takes a second to import, which the rest of the check does not need.
    from dagster_k8s.container_context import K8sContainerContext
    from dagster_k8s.job import DagsterK8sJobConfig, construct_dagster_k8s_job
    from kubernetes.client import ApiClient

    config = instance_config(values)["run_launcher"]["config"]
    known = DagsterK8sJobConfig.config_type_container_context()  # type: ignore[no-untyped-call]
    of_the_container = {name: config[name] for name in known if name in config}
    (code,) = values["dagster-user-deployments"]["deployments"]
    job = construct_dagster_k8s_job(
        DagsterK8sJobConfig(
            job_image=_image(code),
            dagster_home=config["dagster_home"],
            instance_config_map=config["instance_config_map"],
            postgres_password_secret=config["postgres_password_secret"],
        ),
        args=["dagster", "api", "execute_run"],
        job_name="dagster-run",
        user_defined_k8s_config=K8sContainerContext.create_from_config({"k8s": of_the_container}).run_k8s_config,
    )
    made: Document = ApiClient().sanitize_for_serialization(job)
    return made


def unlike_chart(values: Mapping[str, Any], rendered: Sequence[Document]) -> Iterator[str]:
    """Yield where the chart itself renders something other than make_with_chart does."""
    found = {(each["kind"], each["metadata"]["name"]): each for each in rendered}
    for supposed in make_with_chart(values):
        kind, name = supposed["kind"], supposed["metadata"]["name"]
        if (kind, name) not in found:
            yield f"there is no {kind} {name}"
        elif kind == "ConfigMap":
            ours, theirs = (yaml.safe_load(each["data"]["dagster.yaml"]) for each in (supposed, found[kind, name]))
            yield from differences(ours, theirs, "dagster.yaml")
        else:
            ours, theirs = (each["spec"]["template"]["spec"]["containers"][0] for each in (supposed, found[kind, name]))
            # The chart has it in a ConfigMap, one for each Deployment.
            ours["env"] = [each for each in ours["env"] if each["name"] != "DAGSTER_HOME"]
            yield from differences(ours, theirs, name)


def differences(expected: Any, found: Any, where: str = "") -> Iterator[str]:
    """Yield where something differs from what is expected.

    Args:
        expected: fields and items that must be there.
        found: what is there; it may have more.
        where: the path of both, for messages.
    """
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        for name, value in expected.items():
            yield from differences(value, found.get(name), f"{where}.{name}")
    elif isinstance(expected, list) and isinstance(found, list):
        for value in expected:
            if all(list(differences(value, each)) for each in found):
                yield f"{where} has nothing like {value}"
    elif expected != found:
        yield f"{where} is {found}, not {expected}"


def _deployment(
    name: str,
    values: Mapping[str, Any],
    password: str,
    *,
    spec: Mapping[str, Any],
    container: Mapping[str, Any],
) -> Document:
    reference = {"secretKeyRef": {"name": password, "key": "postgresql-password"}}
    probes = {
        probe: {key: value for key, value in values[probe].items() if key != "enabled"}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe")
        if values.get(probe, {"enabled": False}).get("enabled", True)
    }
    environment = [{"name": "DAGSTER_PG_PASSWORD", "valueFrom": reference}, *values.get("env", [])]
    if "dagsterApiGrpcArgs" in values:
        environment.append({"name": "DAGSTER_CURRENT_IMAGE", "value": _image(values)})
    labels = {"app.kubernetes.io/instance": RELEASE, "deployment": name}
    environment.append({"name": "DAGSTER_HOME", "value": HOME})
    main = {
        "image": _image(values),
        "imagePullPolicy": values["image"]["pullPolicy"],
        "securityContext": values["securityContext"],
        "resources": values["resources"],
        "env": environment,
        "envFrom": [{"configMapRef": each} for each in values.get("envConfigMaps", [])]
        + [{"secretRef": each} for each in values.get("envSecrets", [])],
        **probes,
        **container,
        "volumeMounts": [*container.get("volumeMounts", []), *values["volumeMounts"]],
    }
    pod = {**spec, "containers": [main], "volumes": [*spec.get("volumes", []), *values["volumes"]]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def _image(values: Mapping[str, Any]) -> str:
    return f"{values['image']['repository']}:{values['image']['tag']}"


def _in_snake_case(values: Mapping[str, Any]) -> Document:
    return {re.sub("(?=[A-Z])", "_", name).lower(): value for name, value in values.items()}
