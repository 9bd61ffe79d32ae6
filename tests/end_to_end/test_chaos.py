"""Processes of a whole stack are killed under load; it recovers by itself, with every record exactly once.

`make soak STACK=1` does the same at random, and for longer.
"""

import pytest

from tests.end_to_end.conftest import RunningStack
from tests.faults.stack_chaos import Chaos


def said(stack: RunningStack) -> str:
    return stack.state_dir.with_name(stack.state_dir.name + ".out").read_text()


@pytest.fixture(scope="module")
def chaos(stack: RunningStack) -> Chaos:
    return Chaos(stack)


def test_a_stack_whose_postgres_api_and_code_server_are_killed_under_load_loses_and_doubles_nothing(
    stack: RunningStack, chaos: Chaos
) -> None:
    """A killed Postgres was not restarted, and the terminal showed nothing."""
    chaos.drop_references()
    chaos.drop_file()
    chaos.post_batch()
    stack.wait_for("a run under way", lambda: chaos.kill("run"))
    with chaos.load():
        for name in ("postgres", "code-server"):
            assert chaos.kill(name)
            stack.wait_for(f"{name} again", lambda name=name: f"{name} is ready again" in said(stack))

    assert chaos.differences() == []
    assert "! postgres ended with status -9, starting it again now" in said(stack)
    assert chaos.sent.batches > 1


def test_a_request_while_postgres_is_down_waits_for_it(stack: RunningStack, chaos: Chaos) -> None:
    assert chaos.kill("postgres")

    assert "complete" in stack.sql("select distinct status from raw.loads")


def test_a_killed_api_is_started_again_at_once(stack: RunningStack, chaos: Chaos) -> None:
    assert chaos.kill("api")

    stack.wait_for("the API's health", lambda: _is_ready(stack))
    assert "! api ended with status -9, starting it again now" in said(stack)


def _is_ready(stack: RunningStack) -> bool:
    try:
        return bool(stack.get("/health/ready"))
    except OSError:
        return False
