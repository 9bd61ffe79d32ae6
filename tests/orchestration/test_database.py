"""Which errors of Postgres are transient, and which are caused by the data."""

import psycopg
import pytest
from psycopg import errors

from orchestration.database import is_outage, is_refusal


@pytest.mark.parametrize(
    ("sqlstate", "outage", "refusal"),
    [
        ("08006", True, False),  # connection failure
        ("57P01", True, False),  # shut down by an administrator
        ("57P03", True, False),  # starting up
        ("53100", True, False),  # disk full
        ("25006", True, False),  # a standby, until the new primary is found
        ("54000", False, True),  # a row beyond a limit
        ("22P05", False, True),  # a character that the server's encoding does not have
        ("23514", False, True),  # a constraint
        ("42501", False, False),  # missing rights: nothing that waiting helps, nor another file
        ("0A000", False, False),  # not supported
    ],
)
def test_the_sqlstate_distinguishes_an_outage_from_a_refusal(sqlstate: str, outage: bool, refusal: bool) -> None:
    error = errors.lookup(sqlstate)("by the test")
    assert (is_outage(error), is_refusal(error)) == (outage, refusal)


def test_what_a_server_in_recovery_cannot_do_it_can_later() -> None:
    assert is_outage(errors.lookup("0A000")("cannot use this while recovery is in progress"))


def test_a_connection_that_broke_is_an_outage_without_any_sqlstate() -> None:
    assert is_outage(psycopg.OperationalError("server closed the connection unexpectedly"))
    assert is_outage(psycopg.InterfaceError("the connection is closed"))
    assert not is_outage(ValueError("anything else"))
