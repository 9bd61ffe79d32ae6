"""Runs Terraform in a copy of deploy/aws, so that nothing is written next to the code."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.aws.check.cloud import KEY, Cloud

FOLDER = Path(__file__).parents[1]
GITHUB = "example/hiring"
SERVICES = (
    *(
        "acm",
        "applicationautoscaling",
        "budgets",
        "cloudwatch",
        "cloudwatchlogs",
        "ec2",
        "ecr",
        "ecs",
        "elbv2",
        "events",
    ),
    *("iam", "kms", "rds", "s3", "s3control", "secretsmanager", "servicediscovery", "sns", "sts"),
)


class TerraformFailed(RuntimeError):
    """A Terraform command failed; the message has its output."""


@dataclass(frozen=True)
class Terraform:
    """A copy of the configuration, and how to run commands in it."""

    program: str
    folder: Path

    def run(self, *arguments: str, allowed: tuple[int, ...] = (0,)) -> str:
        """Run a command and return its output.

        Args:
            arguments: of terraform.
            allowed: exit statuses that are no failure.

        Raises:
            TerraformFailed: its exit status is not allowed.
        """
        process = subprocess.run(  # noqa: S603
            [self.program, *arguments],
            cwd=self.folder,
            # Without the caller's environment: no AWS account, and no settings for Terraform.
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.folder),
                "CHECKPOINT_DISABLE": "1",
                "TF_IN_AUTOMATION": "1",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        if process.returncode not in allowed:
            output = f"{process.stdout[-2000:]}\n{process.stderr[-6000:]}"
            raise TerraformFailed(f"terraform {' '.join(arguments)}\n{output}")
        return process.stdout

    def plan(self, *arguments: str) -> dict[str, Any]:
        """Return a plan as Terraform's JSON; arguments are those of `terraform plan`."""
        self.run("plan", "-input=false", "-no-color", "-out=check.plan", *arguments)
        plan: dict[str, Any] = json.loads(self.run("show", "-json", "check.plan"))
        return plan

    def apply_planned(self) -> None:
        """Apply the last plan."""
        self.run("apply", "-input=false", "-no-color", "-parallelism=30", "check.plan")

    @property
    def outputs(self) -> dict[str, Any]:
        """The outputs of the applied configuration."""
        return {name: output["value"] for name, output in json.loads(self.run("output", "-json")).items()}

    @property
    def state(self) -> str:
        """The whole state, as it is stored."""
        return (self.folder / "terraform.tfstate").read_text()


def copied(program: str, source: Path, folder: Path, cloud: Cloud) -> Terraform:
    """Copy a configuration and point the copy at the emulator, with its state in a file.

    Args:
        program: the path of terraform.
        source: the folder of the configuration.
        folder: where to copy it.
        cloud: the emulator.
    """
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns(".terraform", "*.tfstate*", "*.py", "__pycache__"))
    provider = {
        "access_key": KEY,
        "secret_key": KEY,
        "s3_use_path_style": True,
        "skip_credentials_validation": True,
        "skip_metadata_api_check": "true",
        "endpoints": [dict.fromkeys(SERVICES, cloud.url)],
    }
    override = {"terraform": [{"backend": {"local": {}}}], "provider": {"aws": [provider]}}
    (folder / "check_override.tf.json").write_text(json.dumps(override))
    variables = {
        "image_tag": "checked",
        "api_certificate_arn": cloud.certificate("api.example.com"),
        "ui_certificate_arn": cloud.certificate("dagster.example.com"),
        "ui_domain_name": "dagster.example.com",
        "ui_allowed_cidrs": ["10.8.0.0/24"],
        "alarm_emails": ["somebody@example.com"],
        "alert_webhook": True,
        "github": {"repository": GITHUB},
        "landing_writer_arns": ["arn:aws:iam::210987654321:role/payroll"],
    }
    (folder / "check.auto.tfvars.json").write_text(json.dumps(variables))
    return Terraform(program, folder)
