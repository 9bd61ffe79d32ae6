"""Runs checkov on the Terraform code, with the skipped rules and the reasons."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

VERSION = "3.3.30"
SKIPPED = {
    "CKV2_AWS_11": "an existing VPC has its own flow logs; the check of refused connections covers ours",
    "CKV2_AWS_12": "the same for its default group; the check of the default group covers ours",
    "CKV2_AWS_31": "requests that WAF refuses are in the load balancer's access log",
    "CKV2_AWS_5": "the tasks' groups are used by services in other modules, which checkov does not follow",
    "CKV2_AWS_57": "passwords are rotated with passwords_version; rotation by AWS needs a function that sets them",
    "CKV2_AWS_62": "a sensor lists the bucket; nothing uses its events",
    "CKV2_AWS_8": "Aurora's own backups cover any second of the last 7 to 35 days, and raw tables are exported to S3",
    "CKV_AWS_109": "a key's policy applies to that key only, and the account has to be able to administer it",
    "CKV_AWS_111": "the same; and the channels of ECS Exec are no resources",
    "CKV_AWS_356": "the same: '*' in a key's policy is that key",
    "CKV_AWS_118": "Performance Insights shows what is slow; a serverless instance's operating system is AWS's",
    "CKV_AWS_139": "every deployment is protected unless it is disposable; the check of the database covers it",
    "CKV_AWS_150": "the same; the check of the load balancers covers it",
    "CKV_AWS_353": "Performance Insights needs two capacity units, but small and medium may have less",
    "CKV_AWS_144": "a copy in another region is up to the data's owner; versioning protects against mistakes",
    "CKV_AWS_145": "load balancers can only use S3's own key; all other buckets have our key",
    "CKV_AWS_162": "roles log in with passwords from Secrets Manager, as on every other server",
    "CKV_AWS_283": "the S3 endpoint's policy names buckets (this account's, ECR's); access is up to roles",
}


class CheckovUnavailable(RuntimeError):
    """checkov cannot be installed here; the message says why."""


def checkov(source: Path) -> Iterator[str]:
    """Yield each finding of checkov in a folder of Terraform, as resource and rule.

    Raises:
        CheckovUnavailable: there is no uv or no package index.
    """
    uv = Path(sys.executable).with_name("uv")
    program = str(uv) if uv.exists() else shutil.which("uv")
    if program is None:
        raise CheckovUnavailable("uv is not installed")
    command = [program, "tool", "run", "--quiet", "--from", f"checkov=={VERSION}", "checkov"]
    try:
        _run([*command, "--version"], source)
    except subprocess.CalledProcessError as error:
        raise CheckovUnavailable(error.stderr.strip().splitlines()[-1]) from None
    options = ["--directory", str(source), "--framework", "terraform", "--skip-check", ",".join(SKIPPED)]
    quiet = ["--skip-download", "--compact", "--quiet", "--soft-fail", "--output", "json"]
    answer: dict[str, Any] = json.loads(_run([*command, *options, *quiet], source))
    for finding in answer.get("results", {}).get("failed_checks", []):
        yield f"{finding['resource']}: {finding['check_name']} ({finding['check_id']}, {finding['file_path']})"
    if answer.get("parsing_errors") or not answer.get(
        "resource_count", answer.get("summary", {}).get("resource_count")
    ):
        yield "checkov could not read the files"


def _run(command: list[str], folder: Path) -> str:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return subprocess.run(  # noqa: S603
        command, cwd=folder, env=variables, capture_output=True, text=True, check=True
    ).stdout
