"""How many rejected records make a whole object fail, and what its message can tell about the cause."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from orchestration.ingest.ledger import Totals
from orchestration.ingest.rejections import Example

DELIMITERS = {b";": "';'", b"\t": "a tab", b"|": "'|'"}
SAMPLES = 100


@dataclass(frozen=True)
class RejectLimit:
    """What share of an object's records, and how many of them, may be rejected without the object being so."""

    share: float = 0.5
    count: int = 100_000

    def violation(self, totals: Totals, at_end: bool) -> str | None:
        """Return what is too much about an object, None if nothing is. Its share of records is known at its end."""
        if totals.rejected > self.count:
            return f"more than {self.count:,} records are rejected"
        if at_end and totals.records and totals.rejected / totals.records > self.share:
            return f"more than {100 * self.share:g}% of the records are rejected"
        return None


def diagnosis(by_reason: Sequence[tuple[int, Sequence[Example]]], totals: Totals) -> str:
    """Say what most of the rejected records have in common, and what may be the cause.

    Args:
        by_reason: the number of records rejected for each reason, most frequent first, and samples of these.
        totals: of all records.
    """
    most, samples = by_reason[0]
    first = samples[0]
    text = (
        f"{totals.rejected:,} of {totals.records:,} rejected ({totals.malformed:,} malformed, {totals.invalid:,} "
        f"invalid), {most:,} of them as {first.reason}; the first, {first}"
    )
    cause = likely_cause(samples)
    return f"{text}. {cause}" if cause else text


def likely_cause(samples: Sequence[Example]) -> str | None:
    """Return a guess at why records were rejected for a reason that they share, None without one."""
    reason = samples[0].reason
    if reason == "too_few_fields" and all(b"," not in each.raw for each in samples):
        for delimiter, name in DELIMITERS.items():
            if all(delimiter in each.raw for each in samples):
                return f"Every one of these has 1 field: is the delimiter {name}?"
    if reason == "invalid_utf8":
        return "Is the file in Windows-1252 or Latin-1? Save it as UTF-8."
    return CAUSES.get(reason)


CAUSES = {
    "too_many_fields": "Are there commas in fields that have no quotes around them?",
    "unclosed_quote": "Are quotes in quoted fields not doubled?",
    "stray_quote": "Are quotes in quoted fields not doubled?",
    "nul_character": "Is the file in UTF-16? Save it as UTF-8.",
}


class Tally:
    """Rejected records counted by reason as they come, with a sample of each."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._samples: dict[str, list[Example]] = {}

    def add(self, examples: Sequence[Example]) -> None:
        """Count some rejected records."""
        for each in examples:
            self._counts[each.reason] += 1
            samples = self._samples.setdefault(each.reason, [])
            if len(samples) < SAMPLES:
                samples.append(each)

    def by_reason(self) -> list[tuple[int, list[Example]]]:
        """Return the number of records for each reason, most frequent first, and samples of these."""
        return [(count, self._samples[reason]) for reason, count in self._counts.most_common()]
