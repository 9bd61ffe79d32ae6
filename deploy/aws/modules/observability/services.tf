# Alarms of the services: the API behind its load balancer, and the database.
locals {
  api_dimensions      = { LoadBalancer = var.api_metric_names.load_balancer }
  database_dimensions = { DBClusterIdentifier = var.database_cluster }

  service_alarms = {
    api-errors = {
      description = "The API answered more than ten requests in five minutes with a 5xx. Its log has one line of JSON for each; /health/ready checks the database and the marts."
      namespace   = "AWS/ApplicationELB"
      metric      = "HTTPCode_Target_5XX_Count"
      dimensions  = local.api_dimensions
      statistic   = "Sum"
      threshold   = 10
      periods     = 1
    }
    api-unreachable = {
      description = "The load balancer had no API task for some requests."
      namespace   = "AWS/ApplicationELB"
      metric      = "HTTPCode_ELB_5XX_Count"
      dimensions  = local.api_dimensions
      statistic   = "Sum"
      threshold   = 10
      periods     = 1
    }
    api-slow = {
      description = "For a quarter of an hour more than one in a hundred API requests took longer than ${var.api_slow_seconds} s. Is the database at its maximum capacity? Can there be more tasks?"
      namespace   = "AWS/ApplicationELB"
      metric      = "TargetResponseTime"
      dimensions  = local.api_dimensions
      statistic   = "p99"
      threshold   = var.api_slow_seconds
      periods     = 3
    }
    database-capacity = {
      description = "The database has been above 90 % of its maximum capacity for a quarter of an hour: raise database_capacity.max."
      namespace   = "AWS/RDS"
      metric      = "ACUUtilization"
      dimensions  = local.database_dimensions
      statistic   = "Average"
      threshold   = 90
      periods     = 3
    }
    database-storage = {
      description = "The database has more than ${var.database_storage_alarm_gib} GiB: find out what grows, or raise database_storage_alarm_gib."
      namespace   = "AWS/RDS"
      metric      = "VolumeBytesUsed"
      dimensions  = local.database_dimensions
      statistic   = "Maximum"
      threshold   = var.database_storage_alarm_gib * pow(1024, 3)
      periods     = 1
    }
    database-deadlocks = {
      description = "Database sessions have deadlocked. Postgres's log has the statements."
      namespace   = "AWS/RDS"
      metric      = "Deadlocks"
      dimensions  = local.database_dimensions
      statistic   = "Maximum"
      threshold   = 0
      periods     = 1
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "service" {
  for_each = local.service_alarms

  alarm_name          = "${var.prefix}-${each.key}"
  alarm_description   = each.value.description
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic == "p99" ? null : each.value.statistic
  extended_statistic  = each.value.statistic == "p99" ? "p99" : null
  period              = 300
  evaluation_periods  = each.value.periods
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.threshold
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}

locals {
  # Alarms for values that are too low.
  low_alarms = merge(
    {
      # Aurora counts from the maximum capacity.
      database-memory = {
        description = "The database has less than 256 MiB of memory left at its maximum capacity: raise database_capacity.max."
        namespace   = "AWS/RDS"
        metric      = "FreeableMemory"
        dimensions  = local.database_dimensions
        statistic   = "Minimum"
        period      = 300
        threshold   = 256 * pow(1024, 2)
        missing     = "notBreaching"
      }
    },
    {
      for name, balancer in { api = var.api_metric_names, ui = var.ui_metric_names } :
      "${name}-down" => {
        description = "The load balancer ${name} has had no healthy task for three minutes. See the service's events in ECS and the log of its tasks."
        namespace   = "AWS/ApplicationELB"
        metric      = "HealthyHostCount"
        dimensions  = { LoadBalancer = balancer.load_balancer, TargetGroup = balancer.target_group }
        # Not Minimum: a zone of the load balancer without a task is not an outage.
        statistic = "Maximum"
        period    = 60
        threshold = 1
        missing   = "breaching"
      }
    },
  )
}

resource "aws_cloudwatch_metric_alarm" "low" {
  for_each = local.low_alarms

  alarm_name          = "${var.prefix}-${each.key}"
  alarm_description   = each.value.description
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  period              = each.value.period
  evaluation_periods  = 3
  comparison_operator = "LessThanThreshold"
  threshold           = each.value.threshold
  treat_missing_data  = each.value.missing
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}
