"""`python -m deploy.kubernetes.check`: what `make kubernetes-check` runs."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from deploy.check.report import Report, console, step
from deploy.kubernetes.check.chart import VERSION, Document, make_run_job, make_with_chart, unlike_chart
from deploy.kubernetes.check.containers import Engine, Failed, NoEngine, engine_command, steps
from deploy.kubernetes.check.manifests import CHECKS, Manifests
from deploy.kubernetes.check.tools import VERSIONS, ToolFailed, Tools

FOLDER = Path(__file__).parents[1]
VALUES = [FOLDER / "values.yaml", FOLDER / "example" / "values.yaml"]


def check(folder: Path, chart: Path | None) -> Report:
    """Render everything, check it, run some of it, and return what is and is not true.

    Args:
        folder: an empty folder for temporary files.
        chart: Dagster's chart; None assumes what it renders.
    """
    report, tools, values = Report(), Tools(folder), read_values()
    try:
        with step("kubectl kustomize"):
            ours = tools.kustomize(FOLDER / "example")
        report.add("kubectl accepts the manifests", [])
        dagster = _rendered(report, tools, values, chart) if chart else make_with_chart(values)
    except ToolFailed as error:
        report.add("kubectl and helm accept the files", [str(error)])
        return report
    manifests = Manifests([*ours, *dagster, make_run_job(values)], read_secrets())
    with step("kubernetes-validate"):
        report.add(
            f"Every object is valid in Kubernetes {' and '.join(VERSIONS)}, without unknown fields",
            tools.invalid(manifests.documents),
        )
    for expectation, violations in CHECKS:
        report.add(expectation, violations(manifests))
    try:
        command = engine_command()
    except NoEngine as error:
        console.print(f"- Running the pods skipped: {error}", markup=False, emoji=False, soft_wrap=True)
        return report
    with Engine(command, folder) as engine:
        for expectation, verify in steps(engine, manifests):
            try:
                with step(expectation):
                    verify()
            except Failed as error:
                # The steps after it need it.
                report.add(expectation, [str(error)])
                break
            report.add(expectation, [])
    return report


def read_values() -> dict[str, Any]:
    """Return values.yaml with the example's values over it, as helm merges them."""
    merged: dict[str, Any] = {}
    for path in VALUES:
        merged = _merged(merged, yaml.safe_load(path.read_text()))
    return merged


def read_secrets() -> dict[str, dict[str, str]]:
    """Return the required Secrets with their keys, by name."""
    return {
        each["metadata"]["name"]: each["stringData"]
        for each in yaml.safe_load_all((FOLDER / "secrets.yaml").read_text())
    }


def _merged(below: Any, above: Any) -> Any:
    if not (isinstance(below, Mapping) and isinstance(above, Mapping)):
        return above
    return {**below, **{name: _merged(below.get(name), value) for name, value in above.items()}}


def _rendered(report: Report, tools: Tools, values: Mapping[str, Any], chart: Path) -> list[Document]:
    with step("helm lint, helm template"):
        rendered = tools.template(chart, VALUES)
    report.add(f"Helm renders Dagster's chart {VERSION} with the values", [])
    report.add("The chart renders what is assumed here when it is not available", unlike_chart(values, rendered))
    return rendered


def main() -> None:
    """Check deploy/kubernetes; without DAGSTER_CHART, the file of Dagster's chart, that part is skipped."""
    named = os.environ.get("DAGSTER_CHART")
    if not named:
        console.print(
            "- Rendering Dagster's chart skipped: DAGSTER_CHART names none. `helm pull dagster --version "
            f"{VERSION} --repo https://dagster-io.github.io/helm` fetches it.",
            markup=False, emoji=False, soft_wrap=True,
        )  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="hiring-kubernetes-") as name:
        report = check(Path(name), Path(named).absolute() if named else None)
    report.end()


if __name__ == "__main__":
    main()
