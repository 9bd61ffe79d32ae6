# A task definition: its container, its log, its permissions (task role) and what ECS needs to start it (execution role).
data "aws_region" "current" {}

data "aws_caller_identity" "current" {}

locals {
  id = "${var.prefix}-${var.name}"

  # Without the JSON key: arn:aws:secretsmanager:region:account:secret:name.
  secret_arns = distinct([for arn in values(var.secrets) : join(":", slice(split(":", arn), 0, 7))])

  container = {
    name      = var.name
    image     = var.image
    command   = var.command
    essential = true

    environment = [for name, value in var.environment : { name = name, value = value }]
    secrets     = [for name, arn in var.secrets : { name = name, valueFrom = arn }]

    user                   = "10001:10001"
    privileged             = false
    readonlyRootFilesystem = !var.ecs_exec
    mountPoints            = [{ sourceVolume = "tmp", containerPath = "/tmp", readOnly = false }]
    linuxParameters = {
      initProcessEnabled = true
      # AWS does not say which of them ECS Exec's agent needs. Our own process has none, since it is not root.
      capabilities = { add = [], drop = var.ecs_exec ? [] : ["ALL"] }
    }
    stopTimeout = var.stop_timeout

    portMappings = [for port in var.ports : { containerPort = port, hostPort = port, protocol = "tcp" }]

    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.this.name
        awslogs-region        = data.aws_region.current.name
        awslogs-stream-prefix = var.name
        # Logging must not block the task.
        mode            = "non-blocking"
        max-buffer-size = "4m"
      }
    }
  }

  health = length(var.health_command) == 0 ? {} : {
    healthCheck = { command = concat(["CMD"], var.health_command), interval = 60, timeout = 30, retries = 3, startPeriod = 300 }
  }
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/${var.prefix}/${var.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.key_arn
}

resource "aws_ecs_task_definition" "this" {
  family                   = local.id
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.size.cpu
  memory                   = var.size.memory
  task_role_arn            = aws_iam_role.task.arn
  execution_role_arn       = aws_iam_role.execution.arn
  container_definitions    = jsonencode([merge(local.container, local.health)])

  # Otherwise the previous revision would be inactive when ECS rolls back.
  skip_destroy = true

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.cpu_architecture
  }

  volume {
    name = "tmp"
  }
}
