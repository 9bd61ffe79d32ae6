"""checkov over the Terraform, with the rules that are left out and why."""

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
    "CKV2_AWS_11": "flow logs are left out with the VPC, where one is given; the check of refused connections looks",
    "CKV2_AWS_12": "the same of the default group; the check of who is given no group looks",
    "CKV2_AWS_31": "what WAF refuses is in the load balancer's access log, which is kept anyway",
    "CKV2_AWS_5": "the tasks' groups are used by services in other modules, which it does not follow",
    "CKV2_AWS_57": "passwords are rotated with passwords_version; a rotation by AWS needs a function that sets them",
    "CKV2_AWS_62": "a sensor lists the bucket; nobody waits for its events",
    "CKV2_AWS_8": "Aurora's own backups go back to any second of 7 to 35 days, and raw tables are exported to S3",
    "CKV_AWS_109": "the policy of a key speaks of that key only, and the account has to be able to administer it",
    "CKV_AWS_111": "the same",
    "CKV_AWS_356": "the same: '*' in the policy of a key is that key",
    "CKV_AWS_118": "Performance Insights shows what is slow; the operating system of a serverless instance is not ours",
    "CKV_AWS_139": "all but a deployment that is disposable is protected; the check of the database looks",
    "CKV_AWS_150": "the same; the check of the load balancers looks",
    "CKV_AWS_353": "Performance Insights needs two capacity units, where small and medium may have less",
    "CKV_AWS_144": "a copy in another region is the choice of whoever owns the data; versions guard against mistakes",
    "CKV_AWS_145": "load balancers write their logs with S3's own key only; all other buckets have our key",
    "CKV_AWS_162": "roles log in with passwords out of Secrets Manager, the same way as on every other server",
    "CKV_AWS_283": "the policy of the S3 endpoint names buckets (this account's, ECR's), who asks is up to roles",
}


class NotToBeHad(RuntimeError):
    """checkov cannot be installed here; the message says why."""


def checkov(source: Path) -> Iterator[str]:
    """Yield each finding of checkov in a folder of Terraform, as resource and rule.

    Raises:
        NotToBeHad: neither uv nor a package index is at hand.
    """
    uv = Path(sys.executable).with_name("uv")
    program = str(uv) if uv.exists() else shutil.which("uv")
    if program is None:
        raise NotToBeHad("uv is not installed")
    command = [program, "tool", "run", "--quiet", "--from", f"checkov=={VERSION}", "checkov"]
    try:
        _run([*command, "--version"], source)
    except subprocess.CalledProcessError as error:
        raise NotToBeHad(error.stderr.strip().splitlines()[-1]) from None
    options = ["--directory", str(source), "--framework", "terraform", "--skip-check", ",".join(SKIPPED)]
    quiet = ["--skip-download", "--compact", "--quiet", "--soft-fail", "--output", "json"]
    answer: dict[str, Any] = json.loads(_run([*command, *options, *quiet], source))
    for each in answer.get("results", {}).get("failed_checks", []):
        yield f"{each['resource']}: {each['check_name']} ({each['check_id']}, {each['file_path']})"
    if answer.get("parsing_errors") or not answer.get(
        "resource_count", answer.get("summary", {}).get("resource_count")
    ):
        yield "it could not read the files"


def _run(command: list[str], folder: Path) -> str:
    variables = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    return subprocess.run(  # noqa: S603
        command, cwd=folder, env=variables, capture_output=True, text=True, check=True
    ).stdout
