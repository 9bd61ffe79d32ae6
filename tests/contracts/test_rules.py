"""How values are displayed. Their meaning in the contract is tested in tests/dbt_project/test_rules.py."""

import pytest

from contracts.rules import WHITE_SPACE, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("44197", "44197"), ("", ""), ("1\u00a0000", r"1\u00a0000"), ("\u200b", r"\u200b"), ("\ufeff8.5", r"\ufeff8.5"),
        ("a\tb\r\n", r"a\tb\r\n"), ("\v", r"\u000b"), ("\x1b[31m", r"\u001b[31m"), ("\u202eabc", r"\u202eabc"),
        ("\U000e0041", r"\U000e0041"), ("soft\u00adhyphen", r"soft\u00adhyphen"),
        ("Mar\u00eda", "Mar\u00eda"), ("\u5f20 \u4f1f", "\u5f20 \u4f1f"), ("\U0001f600", "\U0001f600"),
        (r"C:\temp", r"C:\temp"),
    ],
)  # fmt: skip
def test_invisible_characters_are_escaped(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_all_white_space_but_the_blank_is_shown() -> None:
    assert visible(WHITE_SPACE.replace(" ", "")).isprintable()
    assert visible(" ") == " "
