# The security groups of tasks. Rules for inbound traffic are with the load balancers and the database.
locals {
  task_groups = {
    orchestration = aws_security_group.orchestration.id
    api           = aws_security_group.api.id
    ops           = aws_security_group.ops.id
  }
}

# One for webserver, daemon, code server and runs: Dagster starts a run with the groups of the launching task.
resource "aws_security_group" "orchestration" {
  name        = "${var.prefix}-orchestration"
  description = "Dagster: webserver, daemon, code server, runs, migrations"
  vpc_id      = local.vpc_id
}

resource "aws_security_group" "api" {
  name        = "${var.prefix}-api"
  description = "The API"
  vpc_id      = local.vpc_id
}

resource "aws_security_group" "ops" {
  name        = "${var.prefix}-ops"
  description = "The task that ports of the database and the UI are forwarded through"
  vpc_id      = local.vpc_id
}

resource "aws_vpc_security_group_egress_rule" "https" {
  for_each = local.task_groups

  security_group_id = each.value
  description       = "AWS, and the receiver of alerts"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_ingress_rule" "code" {
  security_group_id            = aws_security_group.orchestration.id
  description                  = "The code server, from webserver and daemon"
  referenced_security_group_id = aws_security_group.orchestration.id
  ip_protocol                  = "tcp"
  from_port                    = 4000
  to_port                      = 4000
}

resource "aws_vpc_security_group_egress_rule" "code" {
  security_group_id            = aws_security_group.orchestration.id
  description                  = "The code server, from webserver and daemon"
  referenced_security_group_id = aws_security_group.orchestration.id
  ip_protocol                  = "tcp"
  from_port                    = 4000
  to_port                      = 4000
}

# Not through the UI's load balancer, whose certificate and login are those of its public name.
resource "aws_vpc_security_group_ingress_rule" "ui" {
  security_group_id            = aws_security_group.orchestration.id
  description                  = "The UI, from ops"
  referenced_security_group_id = aws_security_group.ops.id
  ip_protocol                  = "tcp"
  from_port                    = 3000
  to_port                      = 3000
}

resource "aws_vpc_security_group_egress_rule" "ui" {
  security_group_id            = aws_security_group.ops.id
  description                  = "The UI"
  referenced_security_group_id = aws_security_group.orchestration.id
  ip_protocol                  = "tcp"
  from_port                    = 3000
  to_port                      = 3000
}
