"""How long a sensor waits before it tries again, when it does not wait at all, and when it gives up."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestration.arrivals.attempts import (
    FIRST_DISTANCE_SECONDS,
    LONGEST_DISTANCE_SECONDS,
    MOST_REMEMBERED,
    Attempts,
    Due,
    digest_of,
)

NOW = 1_800_000_000.0


def attempt(attempts: Attempts, found: list[str], now: float) -> Due:
    due = attempts.due(found, now)
    assert isinstance(due, Due)
    return due


def after(count: int, found: list[str], limit: float = math.inf) -> Attempts:
    """Return what is remembered after some attempts, each at its time."""
    attempts = Attempts()
    for _ in range(count):
        due = attempts.due(found, attempts.next_at or NOW, limit)
        assert isinstance(due, Due)
        attempts = due.attempts
    return attempts


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
    tried = attempt(Attempts(), ["a"], NOW).attempts.tried
    weary = attempt(Attempts(tried=tried, made=5000, next_at=NOW), ["a"], NOW).attempts
    assert (weary.made, weary.next_at) == (5001, NOW + LONGEST_DISTANCE_SECONDS)


def test_work_with_a_limit_is_given_up_after_as_many_attempts_however_long_ago_they_were() -> None:
    weary = after(3, ["a", "b"], limit=3)
    assert weary.due(["a", "b"], NOW + 1e9, limit=3) == weary.due(["b"], NOW + 1e9, limit=3) == math.inf


def test_anything_new_makes_given_up_work_due_again() -> None:
    due = after(3, ["a"], limit=3).due(["a", "new"], NOW, limit=3)
    assert isinstance(due, Due)
    assert due.attempts.made == 1


@pytest.mark.parametrize("changed", [["a", "b"], ["b"], ["ab"], ["a\0"]])
def test_new_work_beside_what_was_tried_is_due_at_once_and_begins_to_count_anew(changed: list[str]) -> None:
    made = attempt(Attempts(), ["a"], NOW).attempts
    assert attempt(made, changed, NOW + 1).attempts.made == 1


def test_a_part_of_what_was_tried_is_no_new_work() -> None:
    """A long listing shows a part at a time: parts that took turns as new work would start one run after the other."""
    both = attempt(attempt(Attempts(), ["a"], NOW).attempts, ["b"], NOW + 1).attempts
    assert both.due(["a"], NOW + 2) == both.due(["b"], NOW + 2) == FIRST_DISTANCE_SECONDS - 1


def test_what_is_done_is_forgotten_and_new_work_when_it_comes_back() -> None:
    made = attempt(Attempts(), ["a", "b"], NOW).attempts
    assert isinstance(made.still([digest_of("b")]).due(["a"], NOW + 1), Due)
    assert made.still([digest_of("b")]).due(["b"], NOW + 1) == FIRST_DISTANCE_SECONDS - 1
    assert made.still([]) == Attempts()


def test_more_work_than_is_remembered_waits_for_its_distance_and_is_never_given_up() -> None:
    found = [str(number) for number in range(MOST_REMEMBERED + 10)]
    weary = after(5, found, limit=3)
    assert len(weary.tried) == MOST_REMEMBERED
    assert weary.due(found, weary.next_at - 1, limit=3) == 1


def test_work_is_the_same_in_any_order() -> None:
    made = attempt(Attempts(), ["a", "b"], NOW).attempts
    assert made.due(["b", "a"], NOW + 1) == FIRST_DISTANCE_SECONDS - 1


@given(st.lists(st.text()), st.floats(0, 1e10))
def test_a_cursor_keeps_what_was_made(found: list[str], now: float) -> None:
    made = attempt(Attempts(), found, now).attempts
    assert Attempts.read(made.written()) == made


@given(
    st.none() | st.text() | st.sampled_from(["[]", "null", "1", '{"made": "often"}', '{"tried": null}', "2021-01-01"])
)
@example("")
@example("{")
def test_a_cursor_that_holds_anything_else_counts_as_none(cursor: str | None) -> None:
    assert Attempts.read(cursor) == Attempts()


def test_what_an_earlier_version_kept_in_the_cursor_does_no_harm() -> None:
    earlier = Attempts.read('{"work": "5feceb66ffc86f38", "made": 3, "next_at": 1900000000}')
    assert isinstance(earlier.due(["a"], NOW), Due)


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
