"""CSV texts with everything that matters when a load resumes: a byte order mark, a header, rejected records."""

import random

BAD = (b"too few\r\n", b"caf\xe9,1,2\r\n", b'"open" quote,7\r\n', b"a\0b,3\r\n")


def jobs_text(records: int, seed: int = 0, width: int = 60) -> bytes:
    """Return records of jobs, columns in another order, with line ends in quotes.

    Of each fifty one is malformed and one invalid.
    """
    chance = random.Random(seed)  # noqa: S311
    return b"\xef\xbb\xbfjob,id\r\n" + b"".join(
        BAD[number % len(BAD)]
        if number % 50 == 7
        # Random digits, so that a packed text is not much shorter.
        else b'"job, or\n%b",%d\r\n' % (chance.randbytes(width // 2).hex().encode(), 0 if number % 50 == 9 else number)
        for number in range(1, records + 1)
    )


def hires_text(records: int, seed: int = 0) -> bytes:
    """Return records of hired_employees, columns in another order, with line ends in quotes.

    Of each fifty one is malformed; where a number divides by 12 or by 183 the record is invalid.
    """
    chance = random.Random(seed)  # noqa: S311
    return b"Job_ID,name,department_id,ID,datetime\n" + b"".join(
        BAD[number % len(BAD)]
        if number % 50 == 7
        else b'%d,"Ada ""%b""\nLovelace",%d,%d,2021-07-27T16:02:08Z\n'
        % (number % 183, chance.randbytes(6).hex().encode(), number % 12, number)
        for number in range(1, records + 1)
    )
