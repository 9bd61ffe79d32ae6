"""Images, memory and services over S3 and RDS in docker-compose.yml."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).parents[3]
UNITS = {"m": 20, "g": 30}


def services(name: str = "docker-compose.yml") -> dict[str, dict[str, Any]]:
    read: dict[str, dict[str, Any]] = yaml.safe_load((PROJECT / name).read_text())["services"]
    return read


def bytes_of(text: str) -> int:
    """Read 512m, 1g, 512MB, or the default of a variable that says such a thing."""
    number = text.partition(":-")[2].rstrip("}") if text.startswith("${") else text
    number = number.lower().rstrip("b")
    return int(number[:-1]) << UNITS[number[-1]]


def test_each_image_is_built_by_one_service_and_the_others_wait_for_no_registry() -> None:
    """Compose builds all services concurrently, and with containerd's image store two builds of one tag fail."""
    builders = defaultdict(list)
    for name, service in services().items():
        if service["image"].startswith("hiring-"):
            builders[service["image"]] += [name] if "build" in service else []
            assert "build" in service or service["pull_policy"] == "never"
    assert sorted(builders.values()) == [["api"], ["migrate"]]


def test_images_are_labelled_with_the_version_that_they_are_tagged_with() -> None:
    for service in services().values():
        if "build" in service:
            assert service["image"].endswith(f":{service['build']['args']['VERSION']}")


def test_files_in_tmp_leave_room_in_the_memory_of_their_service() -> None:
    for name, service in services().items():
        for place in service.get("tmpfs", []):
            _, _, size = place.partition(":size=")
            assert size, f"{name} has no limit"
            assert bytes_of(size) <= bytes_of(service["mem_limit"]) // 2, name


def test_postgres_uses_the_memory_that_it_is_given() -> None:
    postgres = services()["postgres"]
    settings = dict(word.removeprefix("-c").split("=", 1) for word in postgres["command"][1:])
    limit = bytes_of(postgres["mem_limit"])
    assert limit // 8 <= bytes_of(settings["shared_buffers"]) <= limit * 2 // 5
    assert bytes_of(settings["effective_cache_size"]) <= limit


def test_with_an_external_postgres_no_service_needs_the_one_of_this_file() -> None:
    over = services("docker-compose.aws.yml")
    embedded = {name for name, service in over.items() if service.get("profiles") == ["embedded"]}
    assert embedded == {"postgres", "s3", "backup"}


def test_over_a_postgres_of_ones_own_every_service_that_connects_can_verify_its_certificate() -> None:
    """PGSSLMODE=verify-full without a file of authorities would fail in the services that were forgotten."""
    for name, service in services("docker-compose.aws.yml").items():
        if "profiles" not in service:
            variables = service["environment"]
            assert variables["PGSSLMODE"] == "${PGSSLMODE:-require}", name
            assert variables["PGSSLROOTCERT"] == "${PGSSLROOTCERT:-}", name
