"""The dbt project as Dagster sees it: its manifest, and what a build has to cover. Testable without a Dagster run."""

import fcntl
import hashlib
import json
from collections.abc import Collection, Mapping
from functools import cache
from importlib.metadata import version
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from dagster_dbt import DbtProject

from orchestration.database import VIGILANCE
from orchestration.dbt.generated import FOLDER, PROJECT_DIR, write_generated
from orchestration.settings import BuildSettings, DatabaseSettings, DbtSettings, placeholders

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest

PROJECT = DbtProject(
    project_dir=PROJECT_DIR,
    target_path=DbtSettings.read().dbt_target_path,
)
# Parsing reads the profile but connects to nothing.
PROFILE_PLACEHOLDERS = {"PGHOST": "unset", "PGDATABASE": "unset", "HIRING_TRANSFORMER_PASSWORD": "unset"}

# Unit tests are about the models' text, not about data: they belong to the test suite.
BUILD = ("build", "--exclude-resource-type", "unit_test")

# What the project's tables are, in contrast to its views (macros/differential.sql).
MATERIALIZED = "differential"


class ProjectBroken(RuntimeError):
    """The dbt project cannot be parsed."""


def session_variables() -> dict[str, str]:
    """Return libpq's variable for sessions of dbt: they wait for no lock for long, and end with their process.

    dbt's profile has no place for settings of a session.
    """
    settings = BuildSettings.read()
    return {"PGOPTIONS": f"{settings.pgoptions} {VIGILANCE} -c lock_timeout={settings.lock_timeout}".strip()}


@cache
def manifest() -> Mapping[str, Any]:
    """Return the parsed project, parsing it first when its files have changed since the last time."""
    # Before the parsing: when files change meanwhile, too old a version costs a full refresh, too new a one hides it.
    version_in_use()
    parse_if_changed()
    return cast(Mapping[str, Any], json.loads(PROJECT.manifest_path.read_text()))


def parsed() -> "Manifest":
    """Return the project as dbt itself holds it, in the database of the environment; read once per process.

    Raises:
        ProjectBroken: dbt cannot parse it.
    """
    return _parsed_for(DatabaseSettings.read().pgdatabase)


@cache
def _parsed_for(database: str | None) -> "Manifest":
    return parsed_in_database(database or "")


def parsed_in_database(database: str) -> "Manifest":
    """Return the parsed project as dbt itself holds it, with the relations of a database.

    dbt parses everything again when a variable of its profile has another value, which takes six times as long as
    reading what it keeps of a parse. The database is the only thing in there that comes from outside of the project.

    Raises:
        ProjectBroken: dbt cannot parse the project.
    """
    # Imported here: seconds that only builds need.
    from dbt.contracts.graph.manifest import Manifest
    from dbt.parser.manifest import extended_mashumuro_decoder

    parse_if_changed()
    parsed = Manifest.from_msgpack(_kept_parse().read_bytes(), decoder=extended_mashumuro_decoder)
    return moved(parsed, database)


def moved(parsed: "Manifest", database: str) -> "Manifest":
    """Let the relations of a parsed project be those of a database; return the project."""
    for node in (*parsed.nodes.values(), *parsed.sources.values()):
        node.database = database
        if node.relation_name:
            # The schema and the name stay as they are quoted.
            node.relation_name = f'"{database}".{node.relation_name.split(".", 1)[1]}'
    parsed.build_parent_and_child_maps()  # type: ignore[no-untyped-call]
    parsed.build_flat_graph()  # type: ignore[no-untyped-call]
    return parsed


def parse_if_changed() -> bool:
    """Bring the manifest up to date with the project's files; return whether that took a `dbt parse`.

    Raises:
        ProjectBroken: dbt cannot parse the project; the message is dbt's.
    """
    target = PROJECT.manifest_path.parent
    stamp, digest = target / "parsed.sha256", _digest()
    if _is_parsed(stamp, digest):
        return False
    target.mkdir(parents=True, exist_ok=True)
    with (target / "parse.lock").open("w") as lock:
        # Several processes start at once: one parses, the others wait for it.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _is_parsed(stamp, digest):
            return False
        _parse(target)
        stamp.write_text(digest)
    return True


def published_marts(project: Mapping[str, Any]) -> list[str]:
    """Return the names of the models whose yml says that they are published, sorted.

    Args:
        project: dbt's manifest.
    """
    return sorted(node["name"] for node in project["nodes"].values() if node["config"].get("meta", {}).get("published"))


def description_of_test(project: Mapping[str, Any], unique_id: str) -> str:
    """Return what a data test is for: its description in a yml, or else the comment that its file begins with.

    Args:
        project: dbt's manifest.
        unique_id: of the test, whose name has to be that of its file where it has no arguments.
    """
    node = project["nodes"][unique_id]
    if described := node["description"].strip():
        return str(described)
    if generic := node.get("test_metadata"):
        # dbt keeps of its file what stands in the test alone.
        node = project["macros"][f"macro.{node['package_name']}.test_{generic['name']}"]
    lines = (PROJECT.project_dir / node["original_file_path"]).read_text().splitlines()
    comment = takewhile(lambda line: line.startswith("--"), lines)
    return " ".join(line.removeprefix("--").strip() for line in comment)


def _parse(target: Path) -> None:
    # Imported here: it imports this module, and only the first process after a change needs it for this.
    from orchestration.dbt.cli import InProcessDbt

    # In this process, which has dbt in memory sooner or later: one of its own would import it once more.
    with placeholders(PROFILE_PLACEHOLDERS):
        try:
            InProcessDbt(PROJECT).cli(["parse"], target_path=target).wait()
        except Exception as error:
            raise ProjectBroken(f"the dbt project cannot be parsed: {' '.join(str(error).split())}") from error


def version_of_project() -> int:
    """Return a number of 60 bits that changes with the project's files and with dbt."""
    return int(_digest()[:15], 16)


@cache
def version_in_use() -> int:
    """Return the version that this process works with: files that change later count from its next start on."""
    return version_of_project()


def _is_parsed(stamp: Path, digest: str) -> bool:
    kept = PROJECT.manifest_path, _kept_parse(), stamp
    return all(path.exists() for path in kept) and stamp.read_text() == digest


def _kept_parse() -> Path:
    """Return the file in which dbt keeps a parsed project for itself."""
    return PROJECT.manifest_path.with_name("partial_parse.msgpack")


def _digest() -> str:
    """Return a digest of the project's files, by their names and contents, and of dbt's version.

    What follows from the contract is brought up to date first: it is part of the project.
    """
    write_generated(PROJECT.project_dir)
    files = sorted(
        path
        for folder in ("models", "macros", "data-tests", f"{FOLDER}/models", f"{FOLDER}/macros")
        for path in (PROJECT.project_dir / folder).rglob("*")
        if path.is_file()
    )
    files += [PROJECT.project_dir / "dbt_project.yml", PROJECT.project_dir / "profiles.yml"]
    digest = hashlib.sha256(version("dbt-core").encode())
    for path in files:
        digest.update(str(path.relative_to(PROJECT.project_dir)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def build_arguments(
    project: Mapping[str, Any],
    touched_tables: Collection[str] | None = None,
    full_refresh: bool = False,
    drop_dependents: bool = False,
    test_everything: bool = False,
) -> list[str]:
    """Return dbt's arguments for a build.

    Args:
        project: dbt's manifest.
        touched_tables: raw tables with records that the marts do not show yet; only what they reach is built. None
            builds whatever is selected.
        full_refresh: build it from all there is, not from what is new.
        drop_dependents: drop what other people have made of a table or view whose change would break it.
        test_everything: let the gates look at all there is, not only at what is new, as a full refresh does.
    """
    if full_refresh:
        return [*BUILD, "--full-refresh", *(("--vars", "{drop_dependents: true}") if drop_dependents else ())]
    if touched_tables is None:
        return [*BUILD, *(("--vars", "{test_everything: true}") if test_everything else ())]
    spared = untouched(project, touched_tables)
    # Cautious: a gate stays as long as it is about any model that is built.
    return [*BUILD, *(("--exclude", " ".join(spared), "--indirect-selection", "cautious") if spared else ())]


def untouched(project: Mapping[str, Any], touched_tables: Collection[str]) -> list[str]:
    """Return the names of the views and tests that new records in some raw tables cannot change, sorted.

    Tables are never among them: each is to mark up to which load it is true, new records or not. The ledger is touched
    by every load, but only what reads it directly follows it everywhere.
    """
    source_ids = {source["name"]: unique_id for unique_id, source in project["sources"].items()}
    children: Mapping[str, list[str]] = project["child_map"]
    touched = set(children[source_ids["loads"]])
    waiting = [source_ids[table] for table in touched_tables]
    while waiting:
        for child in children.get(waiting.pop(), []):
            if child not in touched:
                touched.add(child)
                waiting.append(child)
    return sorted(
        node["name"]
        for node_id, node in project["nodes"].items()
        if node_id not in touched and node["config"]["materialized"] != MATERIALIZED
    )
