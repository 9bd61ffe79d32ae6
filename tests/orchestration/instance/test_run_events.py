"""Where Dagster stores the reasons of failed checks, steps and runs."""

import dagster as dg

from orchestration.instance.run_events import failures_of_run, reason


@dg.asset(check_specs=[dg.AssetCheckSpec(name, asset="judged") for name in ("fine", "strict", "lenient")])
def judged() -> dg.MaterializeResult:  # type: ignore[type-arg]
    """An asset with three checks, one of which fails as an error."""
    results = [
        dg.AssetCheckResult(passed=True, check_name="fine"),
        dg.AssetCheckResult(passed=False, check_name="strict", description="two\n rows", metadata={"rows": 2}),
        dg.AssetCheckResult(passed=False, check_name="lenient", severity=dg.AssetCheckSeverity.WARN),
    ]
    return dg.MaterializeResult(check_results=results)


@dg.asset
def refused() -> None:
    """Fail with a description."""
    raise dg.Failure("no such bucket", metadata={"bucket": "landing"}, allow_retries=False)


@dg.asset
def broken() -> None:
    """Fail with an error that has a cause."""
    raise RuntimeError("cannot write") from ValueError("out of\nspace")


def run(instance: dg.DagsterInstance, *assets: dg.AssetsDefinition) -> dg.ExecuteInProcessResult:
    return dg.materialize([*assets], instance=instance, raise_on_error=False)


def test_dagster_keeps_checks_that_failed_with_severity_words_and_metadata(instance: dg.DagsterInstance) -> None:
    (check,) = failures_of_run(instance, run(instance, judged).run_id).checks
    assert (check.where, check.reason) == ("judged, check strict", "two rows")
    assert check.metadata["rows"].value == 2


def test_dagster_keeps_a_steps_own_words_and_metadata_or_the_chain_of_its_error(instance: dg.DagsterInstance) -> None:
    result = run(instance, refused, broken)
    steps = {step.where: step for step in failures_of_run(instance, result.run_id).steps}
    assert steps["refused"].reason == "no such bucket"
    assert steps["refused"].metadata["bucket"].value == "landing"
    assert steps["broken"].reason == "ValueError: out of space"
    assert {reason(event) for event in result.all_events if event.is_step_failure} == {
        step.reason for step in steps.values()
    }


def test_dagster_ends_a_run_in_the_words_that_it_was_reported_with(instance: dg.DagsterInstance) -> None:
    """By them a run that the stack cut off is known."""
    begun = instance.add_run(dg.DagsterRun("refresh", status=dg.DagsterRunStatus.STARTED))
    instance.report_run_failed(begun, message="The machine was switched off.")
    failures = failures_of_run(instance, begun.run_id)
    assert failures.ends == ["The machine was switched off."]
    assert [(event.where, event.reason) for event in failures.run] == [("run", "The machine was switched off.")]
