"""How many rejected records make a whole load fail, and what its message says about the likely cause."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from orchestration.ingest.ledger import Totals
from orchestration.ingest.rejections import Example

DELIMITERS = {b";": "';'", b"\t": "a tab", b"|": "'|'"}
SAMPLES = 100


@dataclass(frozen=True)
class RejectLimit:
    """How many of an object's records, as a share (0 to 1) and as a number, may be rejected before its load fails."""

    share: float = 0.5
    count: int = 100_000

    def violation(self, totals: Totals, at_end: bool) -> str | None:
        """Return which limit an object's records exceed, None if none.

        Args:
            totals: of the records so far.
            at_end: whether these are all records, so that the share is known.
        """
        if totals.rejected > self.count:
            return f"more than {self.count:,} records are rejected"
        if at_end and totals.records and totals.rejected / totals.records > self.share:
            return f"more than {100 * self.share:g}% of the records are rejected"
        return None


def diagnosis(by_reason: Sequence[tuple[int, Sequence[Example]]], totals: Totals) -> str:
    """Describe what most rejected records have in common, and the likely cause.

    Args:
        by_reason: the number of records rejected for each reason, most frequent first, and samples of them.
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
    """Return a guess at why records were rejected that share a reason, None without one."""
    reason = samples[0].reason
    if reason == "too_few_fields" and all(b"," not in sample.raw for sample in samples):
        for delimiter, name in DELIMITERS.items():
            if all(delimiter in sample.raw for sample in samples):
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
    """Counts rejected records by reason, and keeps samples of each reason."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._samples: dict[str, list[Example]] = {}

    def add(self, examples: Sequence[Example]) -> None:
        """Count some rejected records."""
        for example in examples:
            self._counts[example.reason] += 1
            samples = self._samples.setdefault(example.reason, [])
            if len(samples) < SAMPLES:
                samples.append(example)

    def by_reason(self) -> list[tuple[int, list[Example]]]:
        """Return the number of records for each reason, most frequent first, and samples of them."""
        return [(count, self._samples[reason]) for reason, count in self._counts.most_common()]
