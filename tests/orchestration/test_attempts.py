"""How long a sensor waits before it tries again, and when it does not wait at all."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestration.attempts import FIRST_DISTANCE_SECONDS, LONGEST_DISTANCE_SECONDS, Attempts, Due

NOW = 1_800_000_000.0


def attempt(attempts: Attempts, found: list[str], now: float) -> Due:
    due = attempts.due(found, now)
    assert isinstance(due, Due)
    return due


def test_new_work_is_due_at_once() -> None:
    assert attempt(Attempts(), ["a"], NOW).attempts.made == 1


def test_the_same_work_is_not_due_again_before_its_distance_has_passed() -> None:
    made = attempt(Attempts(), ["a"], NOW).attempts
    assert made.due(["a"], NOW + 5) == FIRST_DISTANCE_SECONDS - 5
    assert attempt(made, ["a"], NOW + FIRST_DISTANCE_SECONDS).attempts.made == 2


def test_distances_double_up_to_the_longest() -> None:
    attempts, now, distances = Attempts(), NOW, []
    for _ in range(9):
        attempts = attempt(attempts, ["a"], now).attempts
        distances.append(attempts.next_at - now)
        now = attempts.next_at
    assert distances == [15, 30, 60, 120, 240, 480, *[LONGEST_DISTANCE_SECONDS] * 3]


def test_work_that_fails_for_weeks_is_still_tried_at_the_longest_distance() -> None:
    """Two to the power of the attempts leaves a float's range after eleven days, and with it the sensor for good."""
    work = attempt(Attempts(), ["a"], NOW).attempts.work
    weary = attempt(Attempts(work=work, made=5000, next_at=NOW), ["a"], NOW).attempts
    assert (weary.made, weary.next_at) == (5001, NOW + LONGEST_DISTANCE_SECONDS)


@pytest.mark.parametrize("changed", [["a", "b"], ["b"], ["ab"], ["a\0"]])
def test_changed_work_is_due_at_once_and_begins_to_count_anew(changed: list[str]) -> None:
    made = attempt(Attempts(), ["a"], NOW).attempts
    assert attempt(made, changed, NOW + 1).attempts.made == 1


def test_work_is_the_same_in_any_order() -> None:
    made = attempt(Attempts(), ["a", "b"], NOW).attempts
    assert made.due(["b", "a"], NOW + 1) == FIRST_DISTANCE_SECONDS - 1


@given(st.lists(st.text()), st.floats(0, 1e10))
def test_a_cursor_keeps_what_was_made(found: list[str], now: float) -> None:
    made = attempt(Attempts(), found, now).attempts
    assert Attempts.read(made.written()) == made


@given(
    st.none() | st.text() | st.sampled_from(["[]", "null", "1", '{"made": "often"}', '{"work": null}', "2021-01-01"])
)
@example("")
@example("{")
def test_a_cursor_that_holds_anything_else_counts_as_none(cursor: str | None) -> None:
    assert Attempts.read(cursor) == Attempts()


def test_what_an_earlier_version_kept_in_the_cursor_does_no_harm() -> None:
    assert Attempts.read('{"last_key": "jobs.csv"}') == Attempts()


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.floats(0.01, 100), st.booleans()), max_size=30))
@example([("a", 0.5, True), ("a", 1.0, True), ("a", 1.0, True), ("a", 1.0, True)])
@example([("a", 1.0, False), ("b", 0.1, False), ("a", 0.1, False)])
def test_no_key_is_ever_given_twice(ticks: list[tuple[str, float, bool]]) -> None:
    """Dagster skips a run whose key it has seen, without a word: the work would wait for its next attempt."""
    attempts, now, keys = Attempts(), NOW, []
    for work, seconds, cursor_is_lost in ticks:
        now += seconds
        due = (Attempts() if cursor_is_lost else attempts).due([work], now)
        if isinstance(due, Due):
            attempts = due.attempts
            keys.append(due.key)
    assert len(set(keys)) == len(keys)
