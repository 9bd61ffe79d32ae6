"""Buckets, images and the database: encryption, access, backups and retention."""

from botocore.exceptions import ClientError

from deploy.aws.check.deployment import Check, Deployment, Statement, Violations, statements

MIN_BACKUP_DAYS = 7


def _three(deployment: Deployment) -> Violations:
    if set(deployment.buckets) != {"landing", "archive", "logs"}:
        yield f"there are {sorted(deployment.buckets)}"


def _private(deployment: Deployment) -> Violations:
    s3 = deployment.cloud.client("s3")
    for purpose, name in deployment.buckets.items():
        try:
            blocked = s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"]
        except ClientError:
            blocked = {"everything": False}
        if not all(blocked.values()):
            yield f"{purpose} does not block {', '.join(sorted(key for key in blocked if not blocked[key]))}"


def _tls(deployment: Deployment) -> Violations:
    for purpose, name in deployment.buckets.items():
        arn = f"arn:aws:s3:::{name}"
        if not any(
            statement.effect == "Deny"
            and statement.actions == ("s3:*",)
            and set(statement.resources) == {arn, f"{arn}/*"}
            and statement.principals in ("*", {"AWS": "*"})
            and statement.conditions == {"Bool": {"aws:SecureTransport": "false"}}
            for statement in _policy(deployment, name)
        ):
            yield f"{purpose} can be accessed without TLS"


def _foreign_principals(deployment: Deployment) -> Violations:
    for purpose, name in deployment.buckets.items():
        for statement in _policy(deployment, name):
            if statement.effect == "Allow" and statement.principals in ("*", {"AWS": "*"}):
                yield f"{purpose} allows anyone {', '.join(statement.actions)}"
            if any(set(statement.allows(pattern)) for pattern in ("s3:Delete*", "s3:PutBucket*")):
                yield f"{purpose} allows others {', '.join(statement.actions)}"


def _policy(deployment: Deployment, bucket: str) -> list[Statement]:
    try:
        return statements(deployment.cloud.client("s3").get_bucket_policy(Bucket=bucket)["Policy"])
    except ClientError:
        return []


def _encrypted(deployment: Deployment) -> Violations:
    for purpose, name in deployment.buckets.items():
        answer = deployment.cloud.client("s3").get_bucket_encryption(Bucket=name)
        (rule,) = answer["ServerSideEncryptionConfiguration"]["Rules"]
        wanted = "AES256" if purpose == "logs" else "aws:kms"
        if (found := rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"]) != wanted:
            yield f"{purpose} is encrypted by {found}"


def _versioned(deployment: Deployment) -> Violations:
    for purpose, name in deployment.buckets.items():
        if deployment.cloud.client("s3").get_bucket_versioning(Bucket=name).get("Status") != "Enabled":
            yield f"{purpose} is not versioned"


def _tidy(deployment: Deployment) -> Violations:
    for purpose, name in deployment.buckets.items():
        try:
            rules = deployment.cloud.client("s3").get_bucket_lifecycle_configuration(Bucket=name)["Rules"]
        except ClientError:
            rules = []
        for wanted in ("NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload"):
            if not any(wanted in rule and rule["Status"] == "Enabled" for rule in rules):
                yield f"{purpose} has no {wanted}"
        days = [rule["Expiration"]["Days"] for rule in rules if "Days" in rule.get("Expiration", {})]
        if purpose == "landing" and days:
            yield f"landing deletes what was delivered after {days[0]} days"


def _images(deployment: Deployment) -> Violations:
    for repository in deployment.cloud.pages("ecr", "describe_repositories", "repositories"):
        if repository["imageTagMutability"] != "IMMUTABLE":
            yield f"tags of {repository['repositoryName']} are mutable"
        if not repository["imageScanningConfiguration"]["scanOnPush"]:
            yield f"{repository['repositoryName']} is not scanned"


def _database(deployment: Deployment) -> Violations:
    rds = deployment.cloud.client("rds")
    (cluster,) = rds.describe_db_clusters()["DBClusters"]
    if not cluster["StorageEncrypted"]:
        yield "it is not encrypted"
    if not cluster["DeletionProtection"]:
        yield "it can be deleted"
    if cluster["BackupRetentionPeriod"] < MIN_BACKUP_DAYS:
        yield f"its backups are kept for {cluster['BackupRetentionPeriod']} days"
    if not cluster.get("MasterUserSecret", {}).get("SecretArn"):
        yield "its administrator's password is not managed by RDS"
    planned = deployment.planned["module.database.aws_rds_cluster.this"]
    if planned["skip_final_snapshot"]:
        yield "it leaves no snapshot when it is deleted"
    for instance in rds.describe_db_instances()["DBInstances"]:
        if instance["PubliclyAccessible"]:
            yield f"{instance['DBInstanceIdentifier']} has a public address"


def _forced_tls(deployment: Deployment) -> Violations:
    rds = deployment.cloud.client("rds")
    (cluster,) = rds.describe_db_clusters()["DBClusters"]
    answer = rds.describe_db_cluster_parameters(DBClusterParameterGroupName=cluster["DBClusterParameterGroup"])
    found = {parameter["ParameterName"]: parameter.get("ParameterValue") for parameter in answer["Parameters"]}
    if found.get("rds.force_ssl") != "1":
        yield f"rds.force_ssl is {found.get('rds.force_ssl')}"


CHECKS: list[Check] = [
    ("There are three buckets: landing, archive, logs", _three),
    ("Every bucket blocks all public access", _private),
    ("Every bucket refuses access without TLS", _tls),
    ("No bucket is public, or lets other principals delete", _foreign_principals),
    ("Every bucket is encrypted, landing and archive with our own key", _encrypted),
    ("Every bucket is versioned", _versioned),
    ("Every bucket has lifecycle rules, and landing keeps its objects", _tidy),
    ("Image tags are immutable, and images are scanned", _images),
    ("The database is encrypted, backed up, private and protected, and RDS manages its administrator", _database),
    ("The database accepts connections with TLS only", _forced_tls),
]
