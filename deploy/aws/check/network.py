"""Network access: security groups, subnets, load balancers."""

from typing import Any

from api.settings import Settings
from deploy.aws.check.deployment import PREFIX, RUNNING, Check, Deployment, Violations

ANYWHERE = ("0.0.0.0/0", "::/0")
UI_PORT = 3000
SAFE_CIPHERS = ("ELBSecurityPolicy-TLS13-1-2-Res-2021-06", "ELBSecurityPolicy-TLS13-1-3-2021-06")


def _networks(permission: dict[str, Any]) -> list[str]:
    return [block["CidrIp"] for block in permission.get("IpRanges", [])] + [
        block["CidrIpv6"] for block in permission.get("Ipv6Ranges", [])
    ]


def _from_everywhere(deployment: Deployment) -> Violations:
    (public,) = deployment.balancers["api"]["SecurityGroups"]
    for group in deployment.groups.values():
        for permission in group["IpPermissions"]:
            if group["GroupId"] != public and set(_networks(permission)) & set(ANYWHERE):
                yield f"{group['GroupName']} is open to the internet"


def _from_networks(deployment: Deployment) -> Violations:
    balancers = {group for balancer in deployment.balancers.values() for group in balancer["SecurityGroups"]}
    for group in deployment.groups.values():
        for permission in group["IpPermissions"]:
            if group["GroupId"] not in balancers and _networks(permission):
                yield f"{group['GroupName']} is open to {', '.join(_networks(permission))}"


def _database(deployment: Deployment) -> Violations:
    (cluster,) = deployment.cloud.client("rds").describe_db_clusters()["DBClusters"]
    tasks = {group for name in ("api", "daemon") for group in _groups_of(deployment, name)}
    tasks.add(deployment.outputs["ops_security_group_id"])
    for member in cluster["VpcSecurityGroups"]:
        group = deployment.groups[member["VpcSecurityGroupId"]]
        sources = {
            pair["GroupId"] for permission in group["IpPermissions"] for pair in permission.get("UserIdGroupPairs", [])
        }
        if sources != tasks:
            yield f"{group['GroupName']} is open to {sorted(sources)}, the tasks' groups are {sorted(tasks)}"
        if any(_networks(permission) for permission in group["IpPermissions"]):
            yield f"{group['GroupName']} is open to a network"
        # New groups have an outbound rule for everything; ours must not have it.
        if any(_networks(permission) for permission in group["IpPermissionsEgress"]):
            yield f"{group['GroupName']} has outbound access"


def _groups_of(deployment: Deployment, service: str) -> list[str]:
    found: list[str] = deployment.services[service]["networkConfiguration"]["awsvpcConfiguration"]["securityGroups"]
    return found


def _ops(deployment: Deployment) -> Violations:
    ops = deployment.outputs["ops_security_group_id"]
    if deployment.groups[ops]["IpPermissions"]:
        yield "it can be reached"
    (cluster,) = deployment.cloud.client("rds").describe_db_clusters()["DBClusters"]
    wanted = {
        (cluster["VpcSecurityGroups"][0]["VpcSecurityGroupId"], deployment.outputs["database_port"]),
        (_groups_of(deployment, "webserver")[0], UI_PORT),
    }
    reached = {
        (pair["GroupId"], permission["FromPort"])
        for permission in deployment.groups[ops]["IpPermissionsEgress"]
        for pair in permission.get("UserIdGroupPairs", [])
    }
    accepting = {
        (group["GroupId"], permission["FromPort"])
        for group in deployment.groups.values()
        for permission in group["IpPermissions"]
        for pair in permission.get("UserIdGroupPairs", [])
        if pair["GroupId"] == ops
    }
    for found, what in ((reached, "it can reach"), (accepting, "is open to it:")):
        if found != wanted:
            yield f"{what} {sorted(found)}, not {sorted(wanted)}"


def _outgoing(deployment: Deployment) -> Violations:
    for group in deployment.groups.values():
        for permission in group["IpPermissionsEgress"]:
            if _networks(permission) and permission.get("FromPort") != 443:
                yield f"{group['GroupName']} can reach {', '.join(_networks(permission))} on any port"


def _default_group(deployment: Deployment) -> Violations:
    for group in deployment.groups.values():
        if group["GroupName"] == "default" and (group["IpPermissions"] or group["IpPermissionsEgress"]):
            yield "the VPC's default group has rules"


def _private(deployment: Deployment) -> Violations:
    tables = deployment.cloud.pages("ec2", "describe_route_tables", "RouteTables")
    public = {
        association.get("SubnetId")
        for table in tables
        if any(route.get("GatewayId", "").startswith("igw-") for route in table["Routes"])
        for association in table["Associations"]
    }
    rds = deployment.cloud.client("rds")
    places = {
        "the database": [s["SubnetIdentifier"] for s in rds.describe_db_subnet_groups()["DBSubnetGroups"][0]["Subnets"]]
    }
    places["the UI's load balancer"] = [zone["SubnetId"] for zone in deployment.balancers["ui"]["AvailabilityZones"]]
    for name in RUNNING:
        network = deployment.services[name]["networkConfiguration"]["awsvpcConfiguration"]
        places[f"service {name}"] = network["subnets"]
        if network.get("assignPublicIp") == "ENABLED":
            yield f"service {name} has public addresses"
    for name, subnets in places.items():
        if set(subnets) & public:
            yield f"{name} is in a public subnet"
        if len(set(subnets)) < 2:
            yield f"{name} is in one zone only"


def _internal(deployment: Deployment) -> Violations:
    if deployment.balancers["ui"].get("Scheme") != "internal":
        yield "the UI's load balancer is public"


def _https(deployment: Deployment) -> Violations:
    for name, balancer in deployment.balancers.items():
        listeners = deployment.cloud.pages(
            "elbv2", "describe_listeners", "Listeners", LoadBalancerArn=balancer["LoadBalancerArn"]
        )
        for listener in listeners:
            if listener["Protocol"] == "HTTP" and listener["DefaultActions"][0].get("Type") != "redirect":
                yield f"{name}: HTTP on port {listener['Port']} is not redirected to HTTPS"
            if listener["Protocol"] == "HTTPS" and listener.get("SslPolicy") not in SAFE_CIPHERS:
                yield f"{name}: HTTPS accepts the ciphers of {listener.get('SslPolicy')}"
        if {listener["Protocol"] for listener in listeners} != {"HTTP", "HTTPS"}:
            yield f"{name} listens for {sorted(listener['Protocol'] for listener in listeners)}"


def _idle(deployment: Deployment) -> Violations:
    kept = Settings.model_fields["api_keep_alive_seconds"].default
    client = deployment.cloud.client("elbv2")
    for name, balancer in deployment.balancers.items():
        found = client.describe_load_balancer_attributes(LoadBalancerArn=balancer["LoadBalancerArn"])["Attributes"]
        seconds = {attribute["Key"]: attribute["Value"] for attribute in found}["idle_timeout.timeout_seconds"]
        if name == "api" and float(seconds) >= kept:
            yield f"it keeps connections for {seconds} s, the API for {kept:g} s"


def _kept(deployment: Deployment) -> Violations:
    client = deployment.cloud.client("elbv2")
    for name, balancer in deployment.balancers.items():
        found = client.describe_load_balancer_attributes(LoadBalancerArn=balancer["LoadBalancerArn"])["Attributes"]
        if {attribute["Key"]: attribute["Value"] for attribute in found}["deletion_protection.enabled"] != "true":
            yield f"{name} can be deleted"


def _asked(deployment: Deployment) -> Violations:
    groups = deployment.cloud.pages("elbv2", "describe_target_groups", "TargetGroups")
    paths = {group["TargetGroupName"]: group["HealthCheckPath"] for group in groups}
    if (path := paths.get(f"{PREFIX}-api")) != "/health/started":
        yield f"the API's health check is {path}: a version without its migration passes it, or an outage fails it"


def _endpoint(deployment: Deployment) -> Violations:
    endpoints = deployment.cloud.pages("ec2", "describe_vpc_endpoints", "VpcEndpoints")
    gateways = [endpoint for endpoint in endpoints if endpoint["VpcEndpointType"] == "Gateway"]
    if len(gateways) != 1 or not gateways[0]["RouteTableIds"]:
        yield "there is no gateway endpoint for S3 in the private route tables"


def _refused(deployment: Deployment) -> Violations:
    if not deployment.cloud.client("ec2").describe_flow_logs()["FlowLogs"]:
        yield f"nothing logs refused connections of {PREFIX}"


CHECKS: list[Check] = [
    ("Only the API's load balancer is open to the internet", _from_everywhere),
    ("Only load balancers are open to networks, everything else only to security groups", _from_networks),
    ("The database is open to the tasks only, and has no outbound access", _database),
    ("The task ops reaches the database and the UI, and nothing reaches it", _ops),
    ("Outbound access from the VPC is HTTPS only", _outgoing),
    ("The default security group has no access", _default_group),
    ("Tasks, database and UI are in private subnets of several zones", _private),
    ("The UI's load balancer is internal", _internal),
    ("HTTP is redirected to HTTPS, which accepts TLS 1.3 and safe ciphers of 1.2", _https),
    ("The API keeps connections for longer than its load balancer", _idle),
    ("Load balancers, which DNS records point to, cannot be deleted", _kept),
    ("A new API version needs its migration to become healthy, and stays healthy in a database outage", _asked),
    ("S3 traffic bypasses the NAT gateway", _endpoint),
    ("Refused connections are logged", _refused),
]
