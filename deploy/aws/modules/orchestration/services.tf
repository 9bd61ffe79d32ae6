# Dagster's services, and how a new version replaces the old one.
resource "aws_service_discovery_private_dns_namespace" "this" {
  name        = "${var.prefix}.internal"
  description = "Names of tasks inside the VPC"
  vpc         = var.vpc_id
}

resource "aws_service_discovery_service" "code" {
  name        = "code"
  description = "The code server, for webserver and daemon"

  dns_config {
    namespace_id   = aws_service_discovery_private_dns_namespace.this.id
    routing_policy = "MULTIVALUE"

    dns_records {
      type = "A"
      ttl  = 10
    }
  }
}

locals {
  services = {
    # Two versions of the code would answer in turn, so the old one stops first. Ticks fail meanwhile and are
    # repeated; runs are tasks of their own and continue.
    code = { definition = module.code.definition_arn, minimum = 0, maximum = 100 }
    # Two daemons would start every run twice.
    daemon = { definition = module.daemon.definition_arn, minimum = 0, maximum = 100 }
    # It is stateless: the new one is healthy before the old one stops.
    webserver = { definition = module.webserver.definition_arn, minimum = 100, maximum = 200 }
  }
}

resource "aws_ecs_service" "this" {
  for_each = local.services

  name            = each.key
  cluster         = var.cluster.arn
  task_definition = each.value.definition
  launch_type     = "FARGATE"
  desired_count   = 1

  deployment_minimum_healthy_percent = each.value.minimum
  deployment_maximum_percent         = each.value.maximum
  # Only the webserver has a load balancer; it waits for the database, and its imports take a while.
  health_check_grace_period_seconds = each.key == "webserver" ? 600 : null

  enable_execute_command  = false
  enable_ecs_managed_tags = true
  propagate_tags          = "SERVICE"

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.subnet_ids
    security_groups  = [var.security_group_id]
    assign_public_ip = false
  }

  dynamic "service_registries" {
    for_each = each.key == "code" ? [aws_service_discovery_service.code.arn] : []

    content {
      registry_arn = service_registries.value
    }
  }

  dynamic "load_balancer" {
    for_each = each.key == "webserver" ? [var.ui_target_group_arn] : []

    content {
      target_group_arn = load_balancer.value
      container_name   = module.webserver.container
      container_port   = local.ui_port
    }
  }
}
