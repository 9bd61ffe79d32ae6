"""The dashboard: what it shows, over HTTP, and that everybody can use it, in a browser."""

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.api.conftest import build_marts, eventually, publish, serving, settings_for, settings_without_database
from tests.api.test_problems import OPERATIONS
from tests.conftest import Database

CHROMIUM = Path("/usr/bin/chromium")
LONG = "Departmentofeverythingthathasnospaceinitsnameandthereforecannotbebroken"
EVIL = '<script>alert("x")</script>'

# Every visible text with the colour it has and the one that is behind it.
COLOURS = """
() => {
  const opaque = colour => !/^rgba\\(.*, 0\\)$|^transparent$/.test(colour);
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const colour = getComputedStyle(e).backgroundColor;
      if (opaque(colour)) return colour;
    }
    return getComputedStyle(document.body).backgroundColor;
  };
  return [...document.querySelectorAll("body *")]
    .filter(e => [...e.childNodes].some(n => n.nodeType == 3 && n.data.trim()) && e.checkVisibility())
    .map(e => [e.outerHTML.slice(0, 80), getComputedStyle(e).color, behind(e), e.className]);
}
"""


@pytest.fixture(scope="module")
def client(module_database: Database) -> Iterator[httpx.Client]:
    """A page with a year of many rows, a small one and one in which every department hired the same."""
    build_marts(module_database)
    publish(
        module_database,
        f"""
        insert into marts.hires_by_quarter
        select 2021, d, 'Department ' || d, j, 'Job ' || lpad(j::text, 2, '0'), (d + j) % 11, 0, j % 6, 1234
        from generate_series(1, 5) as d, generate_series(1, 50) as j;
        insert into marts.departments_above_mean
        select 2021, d, 'Department ' || d, 70000 - 100 * d, 65000.25 from generate_series(1, 20) as d;
        insert into marts.hires_by_quarter values
            (2020, 1, '{EVIL}', 1, 'Clerk', 1, 0, 0, 1),
            (2020, 2, '{LONG}', 1, '{LONG}', 1, 0, 0, 0),
            (2019, 1, 'Sales', 1, 'Clerk', 5, 0, 0, 0),
            (2019, 2, 'Legal', 1, 'Clerk', 5, 0, 0, 0);
        insert into marts.hires_by_quarter
        select 2018, 1, 'Sales', j, 'Job ' || j, 1, 0, 0, 0 from generate_series(1, 501) as j;
        insert into marts.departments_above_mean values (2020, 1, '{EVIL}', 2, 1.5), (2020, 2, '{LONG}', 1, 0.5);
        insert into marts.completeness
            (table_name, loads, last_load_id, last_completed_at, open_records, waiting, withdrawn)
        values
            ('departments', 0, null, null, 0, 0, 0),
            ('hired_employees', 1200, 1234567, '2021-07-27T16:02:08Z', 12345, 1234, 1),
            ('jobs', 1, 2, '2021-07-06T09:05:00+02:00', 0, 0, 0);
        insert into marts.missing_references
            (table_name, column_name, missing_from, id, waiting, waiting_since)
        select 'hired_employees', 'job_id', 'jobs', n::text, n, now() from generate_series(1, 20) as n;
        insert into marts.missing_references
            (table_name, column_name, missing_from, id, waiting, waiting_since)
        values ('hired_employees', 'department_id', 'departments', '{EVIL}', 1024, now())
        """,
    )
    with serving(settings_for(module_database)) as client:
        yield client


def text(client: httpx.Client, address: str, status: int = 200) -> str:
    """Return what a page says, without its marks, one space between any two words."""
    answer = client.get(address)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    body = answer.text.partition("<body>")[2]
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


def test_it_shows_both_metrics_of_2021_and_when_they_were_built(client: httpx.Client) -> None:
    said = text(client, "/")
    assert "Hires of 2021" in said
    assert "Rows 1 to 100 of 250" in said
    assert re.search(r"Department 1 69,900 .* Department 20 68,000", said)
    assert "Mean of all departments: 65,000.2 hires" in said
    assert "Job 01 2 0 1 1,234" in said
    assert re.search(r"Built \d+ \w+ \d{4}, \d\d:\d\d UTC", said)


def test_it_shows_what_is_in_no_number_and_up_to_which_load_they_are_true(client: httpx.Client) -> None:
    for address in ("/", "/?year=1999"):
        said = text(client, address)
        assert "Table To correct Waiting Withdrawn Departments shows no load 0 0 0" in said
        assert (
            "Hired employees shows 1,200 loads, the last (load 1234567) of 27 July 2021, 16:02 UTC 12,345 1,234 1"
        ) in said
        assert "Jobs shows 1 load, the last (load 2) of 6 July 2021, 07:05 UTC 0 0 0" in said
        assert f"Not known, and waited for: department {EVIL} 1,024 hires job 20 20 hires job 19 19 hires" in said
        assert "job 10 10 hires 9 more" in said


def test_where_nothing_is_missing_it_says_so_in_a_sentence(database: Database) -> None:
    build_marts(database)
    publish(
        database,
        """
        insert into marts.completeness
            (table_name, loads, last_load_id, last_completed_at, open_records, waiting, withdrawn)
        values ('jobs', 3, 5, '2021-07-06T07:05:00Z', 0, 0, 0)
        """,
    )
    with serving(settings_for(database)) as client:
        said = text(client, "/")
        assert "Nothing that was delivered is missing: no record has to be corrected, waits or was withdrawn." in said
        assert "Jobs shows 3 loads, the last (load 5) of 6 July 2021, 07:05 UTC" in said
        assert "Waiting" not in said


def test_metrics_of_an_older_build_are_shown_without_what_it_did_not_count(database: Database) -> None:
    build_marts(database)
    database.execute("drop table marts.completeness, marts.missing_references")
    with serving(settings_for(database)) as client:
        assert "Completeness" not in text(client, "/")


def test_the_form_chooses_a_department_and_a_job_by_their_names(client: httpx.Client) -> None:
    said = text(client, "/?year=2021&department=Department+3&job=Job+07")
    assert "Rows 1 to 1 of 1" in said
    assert "Only Department 3, Job 07" in said
    assert "There are no rows" not in said


def test_who_has_followed_next_to_the_end_has_seen_every_row(client: httpx.Client) -> None:
    address, jobs = "/?year=2021&department=", []
    while address:
        page = client.get(address).text
        jobs += re.findall(r'<th scope="row">(Job \d+)</th>', page)
        following = re.search(r'<a href="([^"]+)" rel="next">', page)
        address = "/" + html.unescape(following[1]) if following else ""
    assert len(jobs) == 250


def test_the_heat_of_a_quarter_grows_with_its_hires(client: httpx.Client) -> None:
    cells = re.findall(r'<td class="heat-(\d)">([\d,]+)</td>', client.get("/").text)
    heat = {int(value.replace(",", "")): int(step) for step, value in cells}
    assert (heat[0], heat[1234]) == (0, 5)
    assert [heat[value] for value in sorted(heat)] == sorted(heat.values())


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("/?year=1999", "Nobody was hired in 1999"),
        ("/?year=1999", "There are hires of 2021 , 2020 , 2019 , 2018"),
        ("/?year=2019", "None: every department hired 5."),
        ("/?department=Nowhere", "Nobody was hired for that in 2021."),
        ("/?offset=5000", "There are 250 rows, and none this far down."),
        ("/?utm_source=letter", "Hires of 2021"),
        ("/?year=2020", EVIL),
    ],
)
def test_what_is_out_of_the_ordinary_is_said_in_words(client: httpx.Client, address: str, words: str) -> None:
    assert words in text(client, address)


def test_a_name_is_never_taken_for_markup(client: httpx.Client) -> None:
    assert "<script" not in client.get("/?year=2020").text
    assert "<script" not in client.get("/", params={"department": EVIL, "job": EVIL}).text


@pytest.mark.parametrize(
    "query",
    ["year=1", "year=x", "limit=0", "offset=-1", "department=%00", "year=2021&limit=100000", "year=2021&year=2022"],
)
def test_an_address_that_cannot_be_is_a_page_too_and_names_what_is_wrong(client: httpx.Client, query: str) -> None:
    said = text(client, f"/?{query}", 422)
    assert f"wrong value for: {query.split('&')[-1].partition('=')[0]}." in said


def test_a_name_out_of_too_many_to_choose_from_is_typed(client: httpx.Client) -> None:
    page = client.get("/?year=2018&job=Job+501").text
    assert re.findall(r'<input name="(\w+)" value="([^"]*)"', page) == [("job", "Job 501")]
    assert "Job 500" not in page
    assert '<select name="department">' in page


def test_the_csv_links_give_what_is_shown(client: httpx.Client) -> None:
    page = client.get("/?year=2021&department=Department+3&offset=10").text
    hires, above = (
        client.get("/" + html.unescape(link))
        for link in sorted(re.findall(r'<a href="(metrics/[^"]+)"', page), reverse=True)
    )
    assert len(hires.text.splitlines()) == 51
    assert len(above.text.splitlines()) == 21


def test_without_built_marts_it_asks_to_look_in_again(database: Database) -> None:
    with serving(settings_for(database)) as client:
        assert "not built the metrics so far" in text(client, "/", 503)
        assert int(client.get("/").headers["retry-after"]) > 0
        build_marts(database)
        assert "No hires have come in yet" in text(client, "/")
        publish(database, "insert into marts.hires_by_quarter values (2021, 1, 'Sales', 1, 'Clerk', 1, 0, 0, 0)")
        eventually(lambda: "1 person hired" in text(client, "/"))


def test_without_postgres_it_says_so_kindly(tmp_path: Path) -> None:
    with serving(settings_without_database(tmp_path)) as client:
        said = text(client, "/", 503)
        assert "The database cannot be reached right now" in said
        assert str(tmp_path) not in said


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, client: httpx.Client, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page, which fails the test when something of it is missing, refused or asked of another server."""
    given: dict[str, Any] = getattr(request, "param", {})
    options: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}, "java_script_enabled": False, **given}
    context = browser.new_context(base_url=str(client.base_url), **options)
    context.set_default_timeout(5000)
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("request", lambda asked: complaints.extend([asked.url] * (not asked.url.startswith(str(client.base_url)))))
    yield page
    context.close()
    # The one status that a test asks for.
    assert [complaint for complaint in complaints if "(Unprocessable" not in complaint] == []


def focused(page: Page, presses: int) -> list[str]:
    """Return what the keyboard gets to, one press of Tab after the other."""
    names = []
    for _ in range(presses):
        page.keyboard.press("Tab")
        names.append(
            page.evaluate("e => (e.labels?.[0] ?? e).textContent.trim().split('\\n')[0]", page.query_selector(":focus"))
        )
    return names


def luminance(colour: str) -> float:
    channels = [int(channel) / 255 for channel in re.findall(r"\d+", colour)[:3]]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, another: str) -> float:
    """Return the contrast of two colours as WCAG counts it."""
    dark, light = sorted((luminance(one), luminance(another)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("page", [{"java_script_enabled": True}], indirect=True)
def test_the_keyboard_gets_to_everything_in_the_order_of_the_page(page: Page) -> None:
    page.goto("/?year=2021&offset=100")
    assert focused(page, 14) == [
        "Skip to the hires by quarter", "Year", "Department", "Job", "Show",
        "CSV of the departments above the mean", "8 more", "JSON of the completeness", "CSV of the hires by quarter",
        "First", "Previous", "Next", "Last", "API documentation",
    ]  # fmt: skip


def test_the_form_works_with_the_keyboard_alone_and_without_scripts(page: Page) -> None:
    page.goto("/")
    page.get_by_role("combobox", name="Year").focus()
    page.keyboard.type("2020")
    page.get_by_role("combobox", name="Department").focus()
    page.keyboard.type("Department 3")
    page.get_by_role("button", name="Show").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/?year=2020&department=Department+3&job=")
    assert page.get_by_role("heading", level=1).inner_text() == "Hires of 2020"


def test_tables_and_headings_have_the_names_that_a_screen_reader_reads_out(page: Page) -> None:
    page.goto("/?year=2021&department=Department+3&job=Job+07")
    assert page.get_by_role("heading").all_inner_texts() == [
        "Hires of 2021", "Departments above the mean", "Completeness", "Hires by quarter",
    ]  # fmt: skip
    incomplete = page.get_by_role("region", name="Completeness")
    assert incomplete.get_by_role("columnheader").all_inner_texts() == ["Table", "To correct", "Waiting", "Withdrawn"]
    row = incomplete.get_by_role("row", name="Hired employees")
    assert row.get_by_role("cell").all_inner_texts() == ["12,345", "1,234", "1"]
    missing = page.get_by_role("list", name="Not known, and waited for:")
    assert missing.get_by_role("listitem").last.inner_text() == "9 more"
    assert page.get_by_role("columnheader").all_inner_texts()[-5:] == ["Job", "Q1", "Q2", "Q3", "Q4"]
    row = page.get_by_role("row", name="Job 07")
    assert row.get_by_role("cell").all_inner_texts() == ["10", "0", "1", "1,234"]
    assert page.get_by_role("combobox", name="Department").input_value() == "Department 3"
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.title() == "Hires of 2021"
    for landmark in ("banner", "main", "contentinfo"):
        assert page.get_by_role(landmark).count() == 1  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "page",
    [
        {"color_scheme": scheme, "viewport": {"width": width, "height": 800}, "java_script_enabled": True}
        for scheme in ("light", "dark")
        for width in (375, 1280)
    ],
    ids=["a phone, light", "a desktop, light", "a phone, dark", "a desktop, dark"],
    indirect=True,
)
def test_every_text_stands_out_and_nothing_sticks_out_sideways(page: Page) -> None:
    steps = set()
    for address in (
        "/",
        "/?year=2020",
        "/?year=2018",
        "/?year=1999",
        "/?offset=100",
        "/?year=1",
        "/?department=Department+3",
    ):
        page.goto(address)
        for where, colour, behind, name in page.evaluate(COLOURS):
            assert contrast(colour, behind) >= 4.5, (where, colour, behind)
            steps.add(name)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), address
    assert {"heat-0", "heat-1", "heat-5"} <= steps


@pytest.mark.parametrize("page", [{"java_script_enabled": True}], indirect=True)
def test_the_documentation_lists_every_call_without_other_servers(page: Page) -> None:
    page.goto("/docs")
    page.locator(".opblock-summary-path").first.wait_for()
    assert page.locator(".opblock-summary-path").count() == len(OPERATIONS)
