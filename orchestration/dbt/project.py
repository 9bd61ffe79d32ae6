"""The dbt project: its manifest, its parsed form, and the scope of a build. Testable without a Dagster run."""

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
# Parsing reads the profile, but does not connect.
PROFILE_PLACEHOLDERS = {"PGHOST": "unset", "PGDATABASE": "unset", "HIRING_TRANSFORMER_PASSWORD": "unset"}

# Unit tests check the models' text, not data: they are part of the test suite.
BUILD = ("build", "--exclude-resource-type", "unit_test")

# The materialization of the project's tables, as opposed to its views (macros/differential.sql).
MATERIALIZED = "differential"


class ProjectBroken(RuntimeError):
    """The dbt project cannot be parsed."""


def session_variables() -> dict[str, str]:
    """Return libpq's variable for sessions of dbt, with a lock timeout and detection of dead clients.

    dbt's profile does not support session settings.
    """
    settings = BuildSettings.read()
    return {"PGOPTIONS": f"{settings.pgoptions} {VIGILANCE} -c lock_timeout={settings.lock_timeout}".strip()}


@cache
def manifest() -> Mapping[str, Any]:
    """Return the manifest, after parsing the project if its files have changed."""
    # Before parsing: if files change meanwhile, too old a version costs a full refresh, too new a version prevents one.
    version_in_use()
    parse_if_changed()
    return cast(Mapping[str, Any], json.loads(PROJECT.manifest_path.read_text()))


def parsed() -> "Manifest":
    """Return dbt's own parsed project, with relations of the environment's database; read once per process.

    Raises:
        ProjectBroken: dbt cannot parse it.
    """
    return _parsed_for(DatabaseSettings.read().pgdatabase)


@cache
def _parsed_for(database: str | None) -> "Manifest":
    return parsed_in_database(database or "")


def parsed_in_database(database: str) -> "Manifest":
    """Return dbt's own parsed project, with relations of a database.

    dbt parses everything again if a variable of its profile has changed, which takes six times as long as reading its
    cache. The database is the only value in it that depends on the environment.

    Raises:
        ProjectBroken: dbt cannot parse the project.
    """
    # Imported here, because it takes seconds that only builds need.
    from dbt.contracts.graph.manifest import Manifest
    from dbt.parser.manifest import extended_mashumuro_decoder

    parse_if_changed()
    parsed = Manifest.from_msgpack(_parse_cache().read_bytes(), decoder=extended_mashumuro_decoder)
    return moved(parsed, database)


def moved(parsed: "Manifest", database: str) -> "Manifest":
    """Change the database of a parsed project's relations; return the project."""
    for node in (*parsed.nodes.values(), *parsed.sources.values()):
        node.database = database
        if node.relation_name:
            # Schema and name are quoted already.
            node.relation_name = f'"{database}".{node.relation_name.split(".", 1)[1]}'
    parsed.build_parent_and_child_maps()  # type: ignore[no-untyped-call]
    parsed.build_flat_graph()  # type: ignore[no-untyped-call]
    return parsed


def parse_if_changed() -> bool:
    """Parse the project if its files have changed since the last time; return whether that was necessary.

    Raises:
        ProjectBroken: dbt cannot parse the project; the message is dbt's.
    """
    target = PROJECT.manifest_path.parent
    stamp, digest = target / "parsed.sha256", _digest()
    if _is_parsed(stamp, digest):
        return False
    target.mkdir(parents=True, exist_ok=True)
    with (target / "parse.lock").open("w") as lock:
        # Several processes start at the same time: one parses, the others wait for it.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _is_parsed(stamp, digest):
            return False
        _parse(target)
        stamp.write_text(digest)
    return True


def published_marts(project: Mapping[str, Any]) -> list[str]:
    """Return the names of the models with `meta: {published: true}`, sorted.

    Args:
        project: dbt's manifest.
    """
    return sorted(node["name"] for node in project["nodes"].values() if node["config"].get("meta", {}).get("published"))


def description_of_test(project: Mapping[str, Any], unique_id: str) -> str:
    """Return the description of a data test: that in a yml file, or else the comment at the beginning of its SQL file.

    Args:
        project: dbt's manifest.
        unique_id: the test's id in the manifest.
    """
    node = project["nodes"][unique_id]
    if described := node["description"].strip():
        return str(described)
    if generic := node.get("test_metadata"):
        # The manifest has only the body of the test, without the comment before it.
        node = project["macros"][f"macro.{node['package_name']}.test_{generic['name']}"]
    lines = (PROJECT.project_dir / node["original_file_path"]).read_text().splitlines()
    comment = takewhile(lambda line: line.startswith("--"), lines)
    return " ".join(line.removeprefix("--").strip() for line in comment)


def _parse(target: Path) -> None:
    # Imported here, because it imports this module.
    from orchestration.dbt.cli import InProcessDbt

    # In this process, which needs dbt anyway: a separate process would have to import it again.
    with placeholders(PROFILE_PLACEHOLDERS):
        try:
            InProcessDbt(PROJECT).cli(["parse"], target_path=target).wait()
        except Exception as error:
            raise ProjectBroken(f"the dbt project cannot be parsed: {' '.join(str(error).split())}") from error


def version_of_project() -> int:
    """Return a 60-bit digest of the project's files and of dbt's version."""
    return int(_digest()[:15], 16)


@cache
def version_in_use() -> int:
    """Return the version that this process uses; it ignores later changes of files until it restarts."""
    return version_of_project()


def _is_parsed(stamp: Path, digest: str) -> bool:
    files = PROJECT.manifest_path, _parse_cache(), stamp
    return all(path.exists() for path in files) and stamp.read_text() == digest


def _parse_cache() -> Path:
    """Return dbt's cache of the parsed project."""
    return PROJECT.manifest_path.with_name("partial_parse.msgpack")


def _digest() -> str:
    """Return a digest of the names and contents of the project's files, and of dbt's version.

    The files generated from the contract are part of the project, and are updated first.
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
        touched_tables: raw tables with records that the marts do not show yet; only models that depend on them are
            built. None builds the whole selection.
        full_refresh: build from all records, not only from new ones.
        drop_dependents: drop other people's views of a table or view if its change would break them.
        test_everything: let data tests check all records, not only new ones, as in a full refresh.
    """
    if full_refresh:
        return [*BUILD, "--full-refresh", *(("--vars", "{drop_dependents: true}") if drop_dependents else ())]
    if touched_tables is None:
        return [*BUILD, *(("--vars", "{test_everything: true}") if test_everything else ())]
    excluded = untouched(project, touched_tables)
    # Cautious, so that a test runs as long as any model that it depends on is built.
    return [*BUILD, *(("--exclude", " ".join(excluded), "--indirect-selection", "cautious") if excluded else ())]


def untouched(project: Mapping[str, Any], touched_tables: Collection[str]) -> list[str]:
    """Return the names of the views and tests that new records in some raw tables cannot affect, sorted.

    Tables are never included: each has to record up to which load it is complete, even without new records. Every load
    touches the ledger, but only nodes that read it directly are affected by that alone.

    Args:
        project: dbt's manifest.
        touched_tables: raw tables with new records.
    """
    source_ids = {source["name"]: unique_id for unique_id, source in project["sources"].items()}
    children: Mapping[str, list[str]] = project["child_map"]
    touched = set(children[source_ids["loads"]])
    unvisited = [source_ids[table] for table in touched_tables]
    while unvisited:
        for child in children.get(unvisited.pop(), []):
            if child not in touched:
                touched.add(child)
                unvisited.append(child)
    return sorted(
        node["name"]
        for node_id, node in project["nodes"].items()
        if node_id not in touched and node["config"]["materialized"] != MATERIALIZED
    )
