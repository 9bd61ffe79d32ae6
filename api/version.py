"""The version of the whole project, as pyproject.toml states it: of the API, the images and the command `hiring`."""

import tomllib
from pathlib import Path

# Not the installed package's: an editable installation keeps the version that it was made with.
VERSION = str(tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]["version"])
