"""A running pipeline from its users' point of view: the API and Dagster's UI, over HTTP."""

import json
import urllib.request
from collections.abc import Sequence
from typing import Any

REPOSITORY = {"repositoryName": "__repository__", "repositoryLocationName": "hiring"}


class Outside:
    """The API at API_PORT and Dagster's UI at DAGSTER_PORT of `ports`; `key` is for writers."""

    ports: dict[str, str]
    key: str

    def get(self, path: str) -> Any:
        """Return the API's response to a GET as JSON."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.ports['API_PORT']}{path}", timeout=10) as answer:
            return json.load(answer)

    def post(self, path: str, body: Any) -> Any:
        """Return the API's response to a POST with the stack's key as JSON."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.ports['API_PORT']}{path}",
            json.dumps(body).encode(),
            {"content-type": "application/json", "x-api-key": self.key},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def graphql(self, query: str, **variables: Any) -> Any:
        """Return the response of Dagster's webserver to a query."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.ports['DAGSTER_PORT']}/graphql",
            json.dumps({"query": query, "variables": variables}).encode(),
            {"content-type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["data"]

    def runs(self) -> list[dict[str, str]]:
        """Return the runs that Dagster knows, newest first."""
        runs: list[dict[str, str]] = self.graphql(
            "{ runsOrError { ... on Runs { results { runId jobName status } } } }"
        )["runsOrError"]["results"]
        return runs

    def run(self, run_id: str) -> dict[str, str]:
        """Return one of the runs."""
        return next(run for run in self.runs() if run["runId"] == run_id)

    def launch(self, job: str, assets: Sequence[Sequence[str]] = (), config: str = "{}") -> str:
        """Launch a job as the UI does, `__ASSET_JOB` for some assets; return the run's id."""
        selector = {**REPOSITORY, "pipelineName": job}
        if assets:
            selector["assetSelection"] = [{"path": path} for path in assets]
        params = {
            "mode": "default",
            "executionMetadata": {"tags": []},
            "runConfigData": config,
            "selector": selector,
        }
        answer = self.graphql(
            """
            mutation($p: ExecutionParams!) { launchPipelineExecution(executionParams: $p) {
                __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }
            """,
            p=params,
        )["launchPipelineExecution"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        run_id: str = answer["run"]["runId"]
        return run_id
