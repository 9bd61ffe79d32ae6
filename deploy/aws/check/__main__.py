"""`python -m deploy.aws.check`: what `make aws-check` runs."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from deploy.aws.check import alarms, network, roles, state, storage, tasks
from deploy.aws.check.checkov import CheckovUnavailable, checkov
from deploy.aws.check.cloud import Cloud, running_cloud
from deploy.aws.check.deployment import Deployment
from deploy.aws.check.terraform import FOLDER, Terraform, TerraformFailed, copied
from deploy.check.report import Report, console, step

CHECKS = [*network.CHECKS, *storage.CHECKS, *tasks.CHECKS, *roles.CHECKS, *alarms.CHECKS]


def check(program: str, plugins: Path, source: Path) -> Report:
    """Apply a configuration to an AWS emulator, check the result, and return the report.

    Args:
        program: the path of terraform.
        plugins: a folder with the AWS provider.
        source: the folder of the configuration.
    """
    report = Report()
    with tempfile.TemporaryDirectory() as temporary, running_cloud() as cloud:
        terraform = copied(program, source, Path(temporary) / "aws", cloud)
        try:
            _apply(terraform, plugins, cloud, report)
        except TerraformFailed as error:
            report.add("Terraform can initialise, validate, plan and apply", [str(error)])
    try:
        with step("checkov"):
            report.add("checkov finds nothing except findings that are suppressed with a reason", checkov(source))
    except CheckovUnavailable as error:
        console.print(f"- checkov skipped: {error}", markup=False, emoji=False)
    return report


def _apply(terraform: Terraform, plugins: Path, cloud: Cloud, report: Report) -> None:
    unformatted = terraform.run("fmt", "-check", "-recursive", allowed=(0, 3)).split()
    report.add("Every file is formatted by `terraform fmt`", unformatted)
    with step("terraform init, validate, plan"):
        # With the locked versions only, which are those of a release.
        terraform.run("init", "-input=false", "-no-color", "-lockfile=readonly", f"-plugin-dir={plugins}")
        terraform.run("validate", "-no-color")
        plan = terraform.plan()
    report.add("The configuration is valid and can be planned", [])
    with step("terraform apply: a minute and a half"):
        terraform.apply_planned()
    report.add(f"All {len(plan['resource_changes'])} resources can be created", [])
    deployment = Deployment(cloud, terraform.outputs, state.planned(plan))
    for expectation, violations in CHECKS:
        report.add(expectation, violations(deployment))
    with step("terraform plan, again"):
        second_plan = terraform.plan()
    report.add("A second plan changes nothing", state.unexpected_changes(second_plan))
    texts = {"state": terraform.state, "plan": str(plan), "second plan": str(second_plan)}
    report.add("No secret's value is in the state or a plan", state.exposed_secrets(state.secret_values(cloud), texts))
    with step("terraform apply, with new passwords"):
        report.add(
            "Incrementing passwords_version creates new passwords and changes nothing else",
            state.rotation_problems(terraform, cloud),
        )
    with step("terraform plan of each size"):
        report.add("Every size can be planned", _sizes(terraform))
        report.add(
            "Existing resources, DNS records, a rate limit per address and disposable deployments can be planned",
            _options(terraform),
        )
        report.add("With ui_oidc the UI requires a login", _login(terraform))
        report.add(
            "Without database_verify_certificate connections are encrypted, and need no file", _unverified(terraform)
        )


def _sizes(terraform: Terraform) -> Iterator[str]:
    for path in sorted((terraform.folder / "sizes").glob("*.tfvars")):
        try:
            terraform.plan("-refresh=false", f"-var-file={path}")
        except TerraformFailed as error:
            yield f"{path.name}: {error}"


def _options(terraform: Terraform) -> Iterator[str]:
    variables = {
        "existing_vpc": {
            "vpc_id": "vpc-1",
            "cidr": "10.9.0.0/16",
            "public_subnet_ids": ["a", "b"],
            "private_subnet_ids": ["c", "d"],
        },
        "existing_landing_bucket": {"name": "deliveries", "key_arn": "arn:aws:kms:us-east-1:123456789012:key/theirs"},
        "hosted_zone_id": "Z1",
        "api_domain_name": "api.example.com",
        "api_requests_per_address": 2000,
        "disposable": True,
    }
    (terraform.folder / "options.tfvars.json").write_text(json.dumps(variables))
    plan = terraform.plan("-refresh=false", "-var-file=options.tfvars.json")
    after = {address: resource for address, resource in state.planned(plan).items() if resource}
    kinds = {resource["address"]: resource["type"] for resource in plan["resource_changes"]}
    for kind in ("aws_vpc", "aws_subnet", "aws_nat_gateway", "aws_route_table", "aws_flow_log"):
        if kind in (kinds[address] for address in after):
            yield f"{kind} is created in an existing VPC"
    for wanted in ("module.api_balancer.aws_route53_record.this[0]", "module.ui_balancer.aws_route53_record.this[0]"):
        if wanted not in after:
            yield f"{wanted} is not created"
    limits = [resource for address, resource in after.items() if kinds[address] == "aws_wafv2_web_acl"]
    if [resource["rule"][0]["statement"][0]["rate_based_statement"][0]["limit"] for resource in limits] != [2000]:
        yield "there is no rate limit per address"
    for address, resource in after.items():
        protected = {
            "aws_lb": resource.get("enable_deletion_protection") is True,
            "aws_rds_cluster": resource.get("deletion_protection") is True
            or resource.get("skip_final_snapshot") is not True,
            "aws_s3_bucket": resource.get("force_destroy") is not True,
            "aws_ecr_repository": resource.get("force_delete") is not True,
            "aws_secretsmanager_secret": resource.get("recovery_window_in_days") != 0,
        }
        if protected.get(kinds[address]):
            yield f"{address} would prevent terraform destroy"
    if any(address.startswith("module.storage.module.landing[0].aws_s3_bucket.") for address in after):
        yield "a landing bucket is created although there is an existing one"
    run = json.dumps(after.get('module.orchestration.module.run.aws_iam_role_policy.task["buckets"]', {}))
    if "arn:aws:s3:::deliveries/*" not in run or "key/theirs" not in run:
        yield "runs may not read the existing bucket"


def _login(terraform: Terraform) -> Iterator[str]:
    names = ("issuer", "authorization_endpoint", "token_endpoint", "user_info_endpoint")
    oidc = {name: f"https://login.example.com/{name}" for name in names} | {"client_id": "dagster"}
    plan = terraform.plan("-refresh=false", f"-var=ui_oidc={json.dumps(oidc)}", "-var=ui_oidc_client_secret=checked")
    (listener,) = (
        resource["change"]["after"]
        for resource in plan["resource_changes"]
        if resource["address"] == "module.ui_balancer.aws_lb_listener.https"
    )
    actions = [
        resource["type"] for resource in sorted(listener["default_action"], key=lambda action: int(action["order"]))
    ]
    if actions != ["authenticate-oidc", "forward"]:
        yield f"its load balancer does {', then '.join(actions)}"


def _unverified(terraform: Terraform) -> Iterator[str]:
    plan = terraform.plan("-refresh=false", "-var=database_verify_certificate=false")
    for task in ("api.module.task", "orchestration.module.run", "orchestration.module.migrate"):
        resource = state.planned(plan)[f"module.{task}.aws_ecs_task_definition.this"]
        (container,) = json.loads(resource["container_definitions"])
        variables = {variable["name"]: variable["value"] for variable in container["environment"]}
        found = variables.get("PGSSLMODE"), variables.get("PGSSLROOTCERT")
        if found != ("require", None):
            yield f"{task} has PGSSLMODE {found[0]} and PGSSLROOTCERT {found[1]}"


def main() -> None:
    """Check deploy/aws; without Terraform or its AWS provider, say so and exit with status 0."""
    program, plugins = shutil.which("terraform"), os.environ.get("TF_PLUGIN_DIR")
    if program is None:
        console.print("aws-check skipped: terraform (1.11 or later) is not on PATH.")
        return
    if not plugins or not Path(plugins).is_dir():
        console.print(
            "aws-check skipped: TF_PLUGIN_DIR is not a folder with the provider hashicorp/aws. In deploy/aws, "
            "`terraform get && terraform providers mirror FOLDER` creates one.",
            soft_wrap=True,
        )
        return
    check(program, Path(plugins).absolute(), FOLDER).end()


if __name__ == "__main__":
    main()
