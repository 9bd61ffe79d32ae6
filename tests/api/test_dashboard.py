"""The dashboard: its content over HTTP, and its accessibility in a browser."""

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from deploy.local.postgres import EmbeddedPostgres
from tests.api.conftest import build_marts, eventually, publish, serving, settings_for, settings_without_database
from tests.api.test_problems import OPERATIONS
from tests.conftest import Database, fresh_database

CHROMIUM = Path("/usr/bin/chromium")
LONG = "Departmentofeverythingthathasnospaceinitsnameandthereforecannotbebroken"
PHONE = {"viewport": {"width": 360, "height": 700}, "java_script_enabled": True}
EVIL = '<script>alert("x")</script>'

# Every visible text with its colour and that of its background.
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
        select 2017, 1, 'Administration', 1, 'Senior Representative Administrator', 123, 7, 120, 987;
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
        values ('hired_employees', 'department_id', 'departments', '{EVIL}', 1024, now());
        insert into marts.known_departments
        select distinct on (department_id) department_id, department from marts.hires_by_quarter
        union all values (101, 'Sales'), (102, 'Legal'), (103, 'Idle');
        insert into marts.known_jobs select distinct on (job) row_number() over (), job from marts.hires_by_quarter
        """,
    )
    with serving(settings_for(module_database)) as client:
        yield client


def number(shown: str) -> int:
    return int(shown.replace(",", ""))


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
    assert "Rows 1 to 250 of 250" in said
    assert re.search(r"Department 1 69,900 .* Department 20 68,000", said)
    assert "Mean of all departments: 65,000.2 hires" in said
    assert "Job 01 2 0 1 1,234 1,237" in said
    assert re.search(r"Built \d+ \w+ \d{4}, \d\d:\d\d UTC", said)


def test_it_shows_which_records_are_in_no_metric_and_the_last_load(client: httpx.Client) -> None:
    for address in ("/", "/?year=1999"):
        said = text(client, address)
        assert "Table To correct Waiting Withdrawn Departments no load yet 0 0 0" in said
        assert (
            "Hired employees 1,200 loads, the latest (load 1234567) of 27 July 2021, 16:02 UTC 12,345 1,234 1"
        ) in said
        assert "Jobs 1 load, the latest (load 2) of 6 July 2021, 07:05 UTC 0 0 0" in said
        assert f"Not known, and waited for: department {EVIL} 1,024 hires job 20 20 hires job 19 19 hires" in said
        assert "job 10 10 hires 9 more" in said


def test_if_nothing_is_missing_a_sentence_says_so(database: Database) -> None:
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
        assert "Jobs 3 loads, the latest (load 5) of 6 July 2021, 07:05 UTC" in said
        assert "Waiting" not in said


def test_metrics_of_an_older_build_are_shown_without_what_it_did_not_count(database: Database) -> None:
    build_marts(database)
    database.execute("drop table marts.completeness, marts.missing_references")
    with serving(settings_for(database)) as client:
        assert "Completeness" not in text(client, "/")


def test_the_form_chooses_a_department_and_a_job_by_their_names(client: httpx.Client) -> None:
    said = text(client, "/?year=2021&department=Department+3&job=Job+07")
    assert "Rows 1 to 1 of 1" in said
    assert "Hires of 2021: Department 3, Job 07 1,245 people hired by 1 department" in said


def test_who_has_followed_next_to_the_end_has_seen_every_row(client: httpx.Client) -> None:
    address, jobs = "/?year=2021&department=&limit=100", []
    while address:
        page = client.get(address).text
        jobs += re.findall(r'<th scope="row">(Job \d+)</th>', page)
        following = re.search(r'<a href="([^"]+)" rel="next">', page)
        address = "/" + html.unescape(following[1]) if following else ""
    assert len(jobs) == 250


def test_the_heat_of_a_quarter_grows_with_its_hires(client: httpx.Client) -> None:
    cells = re.findall(r'<td class="h(\d)">([\d,]+)</td>', client.get("/").text)
    heat = {number(value): int(step) for step, value in cells}
    assert [heat[value] for value in sorted(heat)] == sorted(heat.values())
    # The quarter with 1,234 leaves four of five colours to the others.
    assert [heat[value] for value in (1, 4, 6, 8, 1234)] == [1, 2, 3, 4, 5]
    assert "0 1-3 4-5 6-7 8-9 10-1,234" in text(client, "/").replace("\N{EN DASH}", "-")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("/?year=1999", "Nobody was hired in 1999"),
        ("/?year=1999", "There are hires of 2021 , 2020 , 2019 , 2018 , 2017"),
        ("/?year=2019", "None: every department hired 5."),
        ("/?year=2021&department=Sales", "Nobody was hired for that in 2021. There are hires for that of 2019 , 2018"),
        ("/?department=sale", "Nothing is called “sale”. Similar names: Sales"),
        ("/?search=jub+07", "Nothing is called “jub 07”. Similar names: Job 07"),
        ("/?search=zzzzzz", "Nothing is called “zzzzzz”."),
        ("/?offset=5000", "There are 250 rows, and none this far down."),
        ("/?utm_source=letter", "Hires of 2021"),
        ("/?year=2020", EVIL),
    ],
)
def test_unusual_states_are_described_in_words(client: httpx.Client, address: str, words: str) -> None:
    assert words in text(client, address)


ROW = re.compile(r'<tr[^>]*><th scope="(row|rowgroup)">([^<]*)</th>((?:<td[^>]*>[\d,]+</td>){5})</tr>')
QUARTERS = ["q1", "q2", "q3", "q4"]


@pytest.fixture(scope="module")
def hires() -> pd.DataFrame:
    """Hires of two years by department and job, drawn at random; two departments have the same name."""
    generator = np.random.default_rng(7)
    keys = pd.MultiIndex.from_product(
        [[2021, 2023], range(1, 9), range(1, 25)], names=["year", "department_id", "job_id"]
    )
    frame = keys.to_frame(index=False)
    frame["department"] = "Department " + frame["department_id"].mod(7).astype(str)
    frame["job"] = "Job " + frame["job_id"].astype(str)
    frame[QUARTERS] = generator.poisson(0.6, (len(frame), 4))
    return frame[frame[QUARTERS].sum(axis=1) > 0]


@pytest.fixture(scope="module")
def client_of_hires(hires: pd.DataFrame, postgres: EmbeddedPostgres) -> Iterator[httpx.Client]:
    """A page with these hires, two departments without any."""
    with fresh_database(postgres) as database:
        build_marts(database)
        columns = ["year", "department_id", "department", "job_id", "job", *QUARTERS]
        values = ", ".join(str(row) for row in hires[columns].itertuples(index=False, name=None))
        publish(
            database,
            f"""
            insert into marts.hires_by_quarter ({", ".join(columns)}) values {values};
            insert into marts.hires_by_month
            select year, 3 * (quarter - 1) + 1 + department_id % 3, department_id, department, sum(hired)
            from marts.hires_by_quarter, lateral (values (1, q1), (2, q2), (3, q3), (4, q4)) as q (quarter, hired)
            group by year, quarter, department_id, department
            having sum(hired) > 0;
            insert into marts.known_departments select n, 'Department ' || n % 7 from generate_series(1, 10) as n;
            insert into marts.known_jobs select n, 'Job ' || n from generate_series(1, 24) as n;
            insert into marts.departments_above_mean
            select * from (
                select
                    year, department_id, department, sum(q1 + q2 + q3 + q4) as hired,
                    sum(sum(q1 + q2 + q3 + q4)) over (partition by year) / 10.0 as mean
                from marts.hires_by_quarter
                group by year, department_id, department
            ) as departments
            where hired > mean
            """,
        )
        with serving(settings_for(database)) as client:
            yield client


def table(page: str) -> list[tuple[str, str, list[int]]]:
    """Return each row of the hires by quarter: its kind, its name, and its five numbers."""
    return [
        (scope, html.unescape(name), [number(value) for value in re.findall(r">([\d,]+)<", cells)])
        for scope, name, cells in ROW.findall(page)
    ]


def expected_table(hires: pd.DataFrame, sort: str) -> list[tuple[str, str, list[int]]]:
    """Return these rows as pandas has them."""
    hires = hires.assign(hired=hires[QUARTERS].sum(axis=1))
    hires["of_department"] = hires.groupby("department_id")["hired"].transform("sum")
    by_hires = ["of_department", "department", "department_id", "hired", "job", "job_id"]
    order = by_hires if sort == "hires" else ["department", "department_id", "job", "job_id"]
    hires = hires.sort_values(order, ascending=[name not in ("of_department", "hired") for name in order])
    numbers = [*QUARTERS, "hired"]
    rows = [("row", "Total", hires[numbers].sum().tolist())]
    for _, group in hires.groupby("department_id", sort=False):
        rows.append(("rowgroup", group["department"].iloc[0], group[numbers].sum().tolist()))
        rows += [("row", row["job"], row[numbers].tolist()) for _, row in group.iterrows()]
    return rows


@pytest.mark.parametrize("sort", ["name", "hires"])
@pytest.mark.parametrize(
    ("filters", "condition"),
    [
        ("", "department_id > 0"),
        ("&department=Department+1", "department == 'Department 1'"),
        ("&department=Department+2&department=Department+3&job=Job+5", "department_id in (2, 3) and job_id == 5"),
        ("&search=JOB+1", "job.str.startswith('Job 1')"),
        ("&search=ment+4&job=Job+3", "department_id == 4 and job_id == 3"),
    ],
)
def test_every_total_is_that_of_the_requested_rows(
    hires: pd.DataFrame, client_of_hires: httpx.Client, filters: str, condition: str, sort: str
) -> None:
    expected = hires[hires["year"] == 2023].query(condition)
    page = client_of_hires.get(f"/?year=2023{filters}&sort={sort}").text
    assert table(page) == expected_table(expected, sort)
    people, departments = expected[QUARTERS].sum().sum(), expected["department_id"].nunique()
    assert re.search(rf"\b{people} (people|person) hired by {departments} department", page)


@pytest.mark.parametrize("sort", ["name", "hires"])
def test_the_order_is_the_same_on_pages_and_on_one(client_of_hires: httpx.Client, sort: str) -> None:
    def rows(page: str) -> list[tuple[str, str, list[int]]]:
        return [row for row in table(page)[1:] if row[0] == "row"]

    whole = rows(client_of_hires.get(f"/?sort={sort}").text)
    pages = [
        rows(client_of_hires.get(f"/?sort={sort}&limit=25&offset={offset}").text) for offset in range(0, len(whole), 25)
    ]
    assert [row for page in pages for row in page] == whole


def test_the_departments_of_a_year_add_up_to_its_hires(hires: pd.DataFrame, client_of_hires: httpx.Client) -> None:
    page = client_of_hires.get("/?year=2023&job=Job+1").text.partition('id="above"')[2].partition("</section>")[0]
    rows = re.findall(r'<th scope="row">(?:<a[^>]*>)?([^<]*)(?:</a>)?</th>\s*<td>([\d,]+)</td>', page)
    hired = hires[hires["year"] == 2023].groupby(["department_id", "department"])[QUARTERS].sum().sum(axis=1)
    idle = [("Department 2", 0), ("Department 3", 0)]
    departments = [(name, int(people)) for (_, name), people in hired.items()] + idle
    assert sorted((name, number(people)) for name, people in rows) == sorted(departments)
    below = sum(people * len(departments) <= hired.sum() for _, people in departments)
    assert f"{below} departments at or below the mean" in page


def test_all_years_are_shown_with_the_empty_ones_between_and_the_filter_kept(
    hires: pd.DataFrame, client_of_hires: httpx.Client
) -> None:
    said = text(client_of_hires, "/?year=2023&department=Department+1")
    years = hires[hires["department"] == "Department 1"].groupby("year")[QUARTERS].sum()
    first, last = (" ".join([str(sum(row)), "hires, by quarter", ", ".join(map(str, row))]) for row in years.to_numpy())
    for part in (f"2021 {first}", "2022 none hires, by quarter 0, 0, 0, 0", f"2023 {last}"):
        assert part in said
    page = client_of_hires.get("/?year=2023&department=Department+1").text
    assert re.findall(r'href="([^"]*)" aria-current="page"', page) == ["?year=2023&amp;department=Department+1"]
    assert "2005\N{EN DASH}2020 no hires" in text(client_of_hires, "/?year=2004")


@pytest.mark.parametrize(
    ("filters", "condition", "heading"),
    [
        ("", "department_id > 0", "Months of 2023"),
        ("&department=Department+1", "department == 'Department 1'", "Months of 2023"),
        ("&department=Department+1&job=Job+3", "department == 'Department 1'", "Months of 2023, of all jobs"),
    ],
)
def test_all_months_of_the_year_are_shown_for_the_requested_departments(
    hires: pd.DataFrame, client_of_hires: httpx.Client, filters: str, condition: str, heading: str
) -> None:
    """Months are not counted by job: numbers of all jobs under a filter for one job would be misleading."""
    months = dict.fromkeys(range(1, 13), 0)
    for _, row in hires[hires["year"] == 2023].query(condition).iterrows():
        for quarter, name in enumerate(QUARTERS):
            months[3 * quarter + 1 + row["department_id"] % 3] += row[name]
    page = client_of_hires.get(f"/?year=2023{filters}").text
    assert f"<h3>{heading}</h3>" in page
    shown = page.partition('class="years months"')[2].partition("</ol>")[0]
    assert [number(hired) for hired in re.findall(r"<small>([\d,]+)<", shown)] == list(months.values())
    assert re.findall(r"^ +([A-Z][a-z]{2})$", shown, re.M)[::11] == ["Jan", "Dec"]


def test_each_filter_is_shown_and_can_be_removed_separately(client_of_hires: httpx.Client) -> None:
    page = client_of_hires.get("/?department=Department+1&department=Department+2&job=Job+1&search=job&sort=hires").text
    filters = page.partition('aria-label="Filters"')[2].partition("</ul>")[0]
    links = [html.unescape(link) for link in re.findall('href="([^"]*)"', filters)]
    assert links == [
        "?year=2021&department=Department+2&job=Job+1&sort=hires&search=job",
        "?year=2021&department=Department+1&job=Job+1&sort=hires&search=job",
        "?year=2021&department=Department+1&department=Department+2&sort=hires&search=job",
        "?year=2021&department=Department+1&department=Department+2&job=Job+1&sort=hires",
        "?year=2021&sort=hires",
    ]


def test_a_name_is_never_interpreted_as_markup(client: httpx.Client) -> None:
    for names in ({}, {"department": EVIL, "job": EVIL, "search": EVIL}):
        page = client.get("/", params={"year": 2020, **names}).text
        assert re.findall("<script[^>]*>", page) == re.findall(r'<script src="dashboard/[^"]*" defer>', page)


@pytest.mark.parametrize(
    "query",
    ["year=1", "year=x", "limit=0", "offset=-1", "department=%00", "year=2021&limit=100000", "year=2021&year=2022"],
)
def test_an_invalid_url_is_a_page_too_and_names_the_error(client: httpx.Client, query: str) -> None:
    said = text(client, f"/?{query}", 422)
    assert f"wrong value for: {query.split('&')[-1].partition('=')[0]}." in said


def test_a_name_out_of_too_many_to_choose_from_is_typed(client: httpx.Client) -> None:
    page = client.get("/?year=2018&job=Job+501").text
    assert re.findall(r'<input name="(\w+)" value="([^"]*)"', page) == [("job", "Job 501")]
    assert "Job 500" not in page
    assert '<select name="department">' in page


def test_the_csv_links_return_the_displayed_rows(client: httpx.Client) -> None:
    page = client.get("/?year=2021&department=Department+3&offset=10").text
    hires, above = (
        client.get("/" + html.unescape(link))
        for link in sorted(re.findall(r'<a href="(metrics/[^"]+)"', page), reverse=True)
    )
    assert len(hires.text.splitlines()) == 51
    assert len(above.text.splitlines()) == 21


def test_without_built_marts_the_page_asks_to_return_later(database: Database) -> None:
    with serving(settings_for(database)) as client:
        assert "not built the metrics so far" in text(client, "/", 503)
        assert int(client.get("/").headers["retry-after"]) > 0
        build_marts(database)
        said = text(client, "/")
        assert "No hires have come in yet, of any year Drop a CSV file" in said
        assert "departments.csv , jobs.csv , hired_employees.csv . Or send hires as JSON to POST /employees" in said
        publish(database, "insert into marts.hires_by_quarter values (2021, 1, 'Sales', 1, 'Clerk', 1, 0, 0, 0)")
        eventually(lambda: "1 person hired" in text(client, "/"))


def test_without_postgres_the_page_explains_the_outage(tmp_path: Path) -> None:
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
    """A page, which fails the test if a resource is missing, refused or requested from another server."""
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
    # The only error status that a test requests.
    assert [complaint for complaint in complaints if "(Unprocessable" not in complaint] == []


def focused(page: Page, presses: int) -> list[str]:
    """Return what the keyboard gets to, one press of Tab after the other."""
    names = []
    for _ in range(presses):
        page.keyboard.press("Tab")
        if (element := page.query_selector(":focus")) is None:
            break
        names.append(element.evaluate("e => (e.labels?.[0] ?? e).textContent.trim().split('\\n')[0]"))
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
    page.goto("/?year=2021&search=Job&limit=100&offset=100")
    # Without the links of years and departments.
    names = [name for name in focused(page, 45) if not re.match(r"Department \d|20\d\d Q1", name)]
    assert names == [
        "Skip to the hires by quarter", "12,345 rejected, 1,234 waiting, 1 withdrawn",
        "Search Job: take this filter off\N{MULTIPLICATION SIGN}", "Show all of 2021", "Year", "Department", "Job",
        "Search departments and jobs", "Show", "CSV of the departments above the mean", "8 more",
        "3 departments at or below the mean", "JSON of the completeness",
        "CSV of the hires by quarter without the search", "name", "hires", "First", "Previous", "Next", "Last",
        "API documentation", "Reference", "OpenAPI",
    ]  # fmt: skip


def test_the_form_works_with_only_a_keyboard_and_without_scripts(page: Page) -> None:
    page.goto("/")
    page.get_by_role("combobox", name="Year").focus()
    page.keyboard.type("2020")
    page.get_by_role("combobox", name="Department").focus()
    page.keyboard.type("Department 3")
    page.get_by_role("button", name="Show").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/?year=2020&department=Department+3&job=&search=")
    assert page.get_by_role("heading", level=1).inner_text() == "Hires of 2020: Department 3"


def test_tables_and_headings_have_the_names_that_a_screen_reader_reads_out(page: Page) -> None:
    page.goto("/?year=2021&department=Department+3&job=Job+07")
    assert page.get_by_role("heading").all_inner_texts() == [
        "Hires of 2021: Department 3, Job 07", "Quarters of all years", "Departments above the mean", "Completeness",
        "Hires by quarter",
    ]  # fmt: skip
    incomplete = page.get_by_role("region", name="Completeness")
    assert incomplete.get_by_role("columnheader").all_inner_texts() == ["Table", "To correct", "Waiting", "Withdrawn"]
    row = incomplete.get_by_role("row", name="Hired employees")
    assert row.get_by_role("cell").all_inner_texts() == ["12,345", "1,234", "1"]
    missing = page.get_by_role("list", name="Not known, and waited for:")
    assert missing.get_by_role("listitem").last.inner_text() == "9 more"
    assert page.get_by_role("columnheader").all_inner_texts()[-6:] == ["Job", "Q1", "Q2", "Q3", "Q4", "Year"]
    for name in ("Job 07", "Department 3", "Total"):
        row = page.get_by_role("table", name="Rows 1 to 1 of 1").get_by_role("row", name=name)
        assert row.get_by_role("cell").all_inner_texts() == ["10", "0", "1", "1,234", "1,245"]
    assert page.get_by_role("combobox", name="Department").input_value() == "Department 3"
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.title() == "Hires of 2021: Department 3, Job 07"
    for landmark in ("banner", "main", "contentinfo"):
        assert page.get_by_role(landmark).count() == 1  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "page",
    [
        {"color_scheme": scheme, "viewport": {"width": width, "height": 800}, "java_script_enabled": True}
        for scheme in ("light", "dark")
        for width in (360, 1280)
    ],
    ids=["a phone, light", "a desktop, light", "a phone, dark", "a desktop, dark"],
    indirect=True,
)
def test_every_text_has_enough_contrast_and_nothing_overflows_sideways(page: Page) -> None:
    steps = set()
    for address in (
        "/?limit=60",
        "/?year=2020",
        "/?year=2018&limit=60",
        "/?year=1999",
        "/?offset=200",
        "/?year=1",
        "/?department=Department+3&search=7&sort=hires",
        "/?search=jub",
    ):
        page.goto(address)
        for where, colour, behind, name in page.evaluate(COLOURS):
            assert contrast(colour, behind) >= 4.5, (where, colour, behind)
            steps.add(name)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), address
    assert {"h1", "h3", "h5"} <= steps


@pytest.mark.parametrize("page", [{"java_script_enabled": True}], indirect=True)
def test_a_search_is_shown_while_it_is_typed(page: Page) -> None:
    page.goto("/?sort=hires")
    page.get_by_role("searchbox").press_sequentially("jOB 07")
    page.get_by_role("heading", name="Hires of 2021: “jOB 07”").wait_for()
    assert page.get_by_role("table", name="Rows 1 to 5 of 5").get_by_role("row", name="Job 07").count() == 5
    assert page.get_by_role("status").inner_text() == "6,203 people hired by 5 departments"
    assert page.url.endswith("/?year=2021&search=jOB+07&sort=hires")
    assert page.evaluate("document.activeElement.name") == "search"
    assert page.title() == "Hires of 2021: “jOB 07”"
    page.get_by_role("searchbox").fill("jub 07")
    page.get_by_role("link", name="Job 07", exact=True).click()
    page.get_by_role("heading", name="Hires of 2021: “Job 07”").wait_for()


def test_a_search_is_sent_without_scripts(page: Page) -> None:
    page.goto("/?sort=hires")
    page.get_by_role("searchbox").fill("job 07")
    page.get_by_role("searchbox").press("Enter")
    page.wait_for_url("**/?year=2021&department=&job=&search=job+07&sort=hires")
    assert page.get_by_role("table", name="Rows 1 to 5 of 5").get_by_role("row", name="Job 07").count() == 5


@pytest.mark.parametrize(
    "page", [{"java_script_enabled": True, "viewport": {"width": 360, "height": 700}}], indirect=True
)
def test_columns_and_departments_keep_their_names_in_sight_while_the_rows_scroll(page: Page) -> None:
    page.goto("/?year=2021")
    page.get_by_role("row", name="Job 40").nth(2).scroll_into_view_if_needed()
    tops = [
        round(page.get_by_role(role, name=name, exact=True).last.bounding_box()["y"])  # type: ignore[arg-type, index]
        for role, name in (("columnheader", "Q1"), ("rowheader", "Department 3"))
    ]
    assert tops[0] == 0 < tops[1] < 60


# Words that lines break in, which only those may that are wider than their cell.
BROKEN_WORDS = """
() => [...document.querySelectorAll("th, td, p, li, h1, h2")].flatMap(element => {
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT), broken = [];
  for (let node = walker.nextNode(); node; node = walker.nextNode())
    for (const match of node.data.matchAll(/[\\p{L}\\d,]+/gu)) {
      const range = document.createRange();
      range.setStart(node, match.index);
      range.setEnd(node, match.index + match[0].length);
      if (range.getClientRects().length > 1) broken.push(match[0]);
    }
  return broken;
})
"""


@pytest.mark.parametrize(
    "page", [{"java_script_enabled": True, "viewport": {"width": 360, "height": 700}}], indirect=True
)
def test_no_word_is_broken_on_a_phone_that_has_room_on_a_line(page: Page) -> None:
    for address in ("/?year=2017", "/?year=2018&limit=60", "/?year=2020"):
        page.goto(address)
        assert set(page.evaluate(BROKEN_WORDS)) <= {LONG}


@pytest.mark.parametrize("page", [{"java_script_enabled": True}], indirect=True)
def test_the_documentation_lists_every_call_without_other_servers(page: Page) -> None:
    page.goto("/docs")
    page.locator(".opblock-summary-path").first.wait_for()
    assert page.locator(".opblock-summary-path").count() == len(OPERATIONS)
