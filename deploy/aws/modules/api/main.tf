# The API: its task, which has no permissions in AWS, its service, and its autoscaling.
module "task" {
  source = "../task"

  name    = "api"
  command = ["python", "-m", "api"]
  environment = merge(var.postgres, {
    API_HOST       = "0.0.0.0"
    API_PORT       = tostring(var.port)
    API_OPEN_READS = tostring(var.open_reads)
    # The load balancer's; nothing else can reach the tasks.
    API_TRUSTED_PROXIES = jsonencode([var.proxy_cidr])
  })
  secrets        = { for name in ["API_KEYS", "HIRING_API_PASSWORD"] : name => var.secret_arns[name] }
  ports          = [var.port]
  health_command = ["python", "-m", "deploy.probes", "http", "${var.port}/health/live"]
  size           = var.size

  prefix             = var.prefix
  image              = var.image.uri
  repository_arn     = var.image.repository_arn
  cpu_architecture   = var.cpu_architecture
  key_arn            = var.key_arn
  log_retention_days = var.log_retention_days
}

resource "aws_ecs_service" "this" {
  name            = "api"
  cluster         = var.cluster.arn
  task_definition = module.task.definition_arn
  launch_type     = "FARGATE"
  desired_count   = var.tasks.min

  # New tasks are healthy before the old ones stop.
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  health_check_grace_period_seconds  = 60

  availability_zone_rebalancing = "ENABLED"
  enable_execute_command        = false
  enable_ecs_managed_tags       = true
  propagate_tags                = "SERVICE"

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.subnet_ids
    security_groups  = [var.security_group_id]
    assign_public_ip = false
  }

  load_balancer {
    target_group_arn = var.target_group_arn
    container_name   = module.task.container
    container_port   = var.port
  }

  lifecycle {
    # Managed by autoscaling.
    ignore_changes = [desired_count]
  }
}

resource "aws_appautoscaling_target" "this" {
  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/${var.cluster.name}/${aws_ecs_service.this.name}"
  min_capacity       = var.tasks.min
  max_capacity       = var.tasks.max
}

resource "aws_appautoscaling_policy" "requests" {
  name               = "${var.prefix}-api-requests"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this.service_namespace
  scalable_dimension = aws_appautoscaling_target.this.scalable_dimension
  resource_id        = aws_appautoscaling_target.this.resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = var.requests_per_task
    scale_out_cooldown = 60
    scale_in_cooldown  = 300

    predefined_metric_specification {
      predefined_metric_type = "ALBRequestCountPerTarget"
      resource_label         = "${var.metric_names.load_balancer}/${var.metric_names.target_group}"
    }
  }
}

resource "aws_appautoscaling_policy" "cpu" {
  name               = "${var.prefix}-api-cpu"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this.service_namespace
  scalable_dimension = aws_appautoscaling_target.this.scalable_dimension
  resource_id        = aws_appautoscaling_target.this.resource_id

  target_tracking_scaling_policy_configuration {
    target_value       = 60
    scale_out_cooldown = 60
    scale_in_cooldown  = 300

    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
  }
}
