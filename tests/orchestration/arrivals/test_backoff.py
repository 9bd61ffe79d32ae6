"""How long a sensor waits before it retries, when it does not wait at all, and when it gives up."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestration.arrivals.backoff import (
    FIRST_INTERVAL_SECONDS,
    MAX_INTERVAL_SECONDS,
    MAX_REMEMBERED,
    Backoff,
    NextAttempt,
    digest_of,
)

NOW = 1_800_000_000.0


def attempt(backoff: Backoff, found: list[str], now: float) -> NextAttempt:
    due = backoff.next_attempt(found, now)
    assert isinstance(due, NextAttempt)
    return due


def after(count: int, found: list[str], limit: float = math.inf) -> Backoff:
    """Return the backoff after several attempts, each at its time."""
    backoff = Backoff()
    for _ in range(count):
        due = backoff.next_attempt(found, backoff.next_at or NOW, limit)
        assert isinstance(due, NextAttempt)
        backoff = due.backoff
    return backoff


def test_new_work_is_due_immediately() -> None:
    assert attempt(Backoff(), ["a"], NOW).backoff.made == 1


def test_the_same_work_is_not_due_again_before_its_interval_has_passed() -> None:
    made = attempt(Backoff(), ["a"], NOW).backoff
    assert made.next_attempt(["a"], NOW + 5) == FIRST_INTERVAL_SECONDS - 5
    assert attempt(made, ["a"], NOW + FIRST_INTERVAL_SECONDS).backoff.made == 2


def test_intervals_double_up_to_the_longest() -> None:
    backoff, now, intervals = Backoff(), NOW, []
    for _ in range(9):
        backoff = attempt(backoff, ["a"], now).backoff
        intervals.append(backoff.next_at - now)
        now = backoff.next_at
    assert intervals == [15, 30, 60, 120, 240, 480, *[MAX_INTERVAL_SECONDS] * 3]


def test_work_that_fails_for_weeks_is_still_tried_at_the_longest_interval() -> None:
    """Two to the power of the attempts leaves a float's range after eleven days, and with it the sensor for good."""
    tried = attempt(Backoff(), ["a"], NOW).backoff.tried
    weary = attempt(Backoff(tried=tried, made=5000, next_at=NOW), ["a"], NOW).backoff
    assert (weary.made, weary.next_at) == (5001, NOW + MAX_INTERVAL_SECONDS)


def test_work_with_a_limit_is_given_up_after_as_many_attempts_however_long_ago_they_were() -> None:
    weary = after(3, ["a", "b"], limit=3)
    assert (
        weary.next_attempt(["a", "b"], NOW + 1e9, limit=3) == weary.next_attempt(["b"], NOW + 1e9, limit=3) == math.inf
    )


def test_anything_new_makes_given_up_work_due_again() -> None:
    due = after(3, ["a"], limit=3).next_attempt(["a", "new"], NOW, limit=3)
    assert isinstance(due, NextAttempt)
    assert due.backoff.made == 1


@pytest.mark.parametrize("changed", [["a", "b"], ["b"], ["ab"], ["a\0"]])
def test_new_work_in_addition_to_tried_work_is_due_immediately_and_resets_the_count(changed: list[str]) -> None:
    made = attempt(Backoff(), ["a"], NOW).backoff
    assert attempt(made, changed, NOW + 1).backoff.made == 1


def test_a_part_of_what_was_tried_is_no_new_work() -> None:
    """A long listing shows a part at a time: parts that took turns as new work would start one run after the other."""
    both = attempt(attempt(Backoff(), ["a"], NOW).backoff, ["b"], NOW + 1).backoff
    assert both.next_attempt(["a"], NOW + 2) == both.next_attempt(["b"], NOW + 2) == FIRST_INTERVAL_SECONDS - 1


def test_finished_work_is_forgotten_and_counts_as_new_when_it_reappears() -> None:
    made = attempt(Backoff(), ["a", "b"], NOW).backoff
    assert isinstance(made.keep_only([digest_of("b")]).next_attempt(["a"], NOW + 1), NextAttempt)
    assert made.keep_only([digest_of("b")]).next_attempt(["b"], NOW + 1) == FIRST_INTERVAL_SECONDS - 1
    assert made.keep_only([]) == Backoff()


def test_more_work_than_is_remembered_waits_for_its_interval_and_is_never_given_up() -> None:
    found = [str(number) for number in range(MAX_REMEMBERED + 10)]
    weary = after(5, found, limit=3)
    assert len(weary.tried) == MAX_REMEMBERED
    assert weary.next_attempt(found, weary.next_at - 1, limit=3) == 1


def test_work_is_the_same_in_any_order() -> None:
    made = attempt(Backoff(), ["a", "b"], NOW).backoff
    assert made.next_attempt(["b", "a"], NOW + 1) == FIRST_INTERVAL_SECONDS - 1


@given(st.lists(st.text()), st.floats(0, 1e10))
def test_a_cursor_keeps_what_was_made(found: list[str], now: float) -> None:
    made = attempt(Backoff(), found, now).backoff
    assert Backoff.read(made.model_dump_json()) == made


@given(
    st.none() | st.text() | st.sampled_from(["[]", "null", "1", '{"made": "often"}', '{"tried": null}', "2021-01-01"])
)
@example("")
@example("{")
def test_a_cursor_that_holds_anything_else_counts_as_none(cursor: str | None) -> None:
    assert Backoff.read(cursor) == Backoff()


def test_what_an_earlier_version_kept_in_the_cursor_does_no_harm() -> None:
    earlier = Backoff.read('{"work": "5feceb66ffc86f38", "made": 3, "next_at": 1900000000}')
    assert isinstance(earlier.next_attempt(["a"], NOW), NextAttempt)


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.floats(0.01, 100), st.booleans()), max_size=30))
@example([("a", 0.5, True), ("a", 1.0, True), ("a", 1.0, True), ("a", 1.0, True)])
@example([("a", 1.0, False), ("b", 0.1, False), ("a", 0.1, False)])
def test_no_key_is_ever_given_twice(ticks: list[tuple[str, float, bool]]) -> None:
    """Dagster silently skips a run with a known key: the work would wait for its next attempt."""
    backoff, now, keys = Backoff(), NOW, []
    for work, seconds, cursor_is_lost in ticks:
        now += seconds
        due = (Backoff() if cursor_is_lost else backoff).next_attempt([work], now)
        if isinstance(due, NextAttempt):
            backoff = due.backoff
            keys.append(due.key)
    assert len(set(keys)) == len(keys)
