# The dashboard: alarms, runs, API, database.
locals {
  region = data.aws_region.current.name
  api_lb = ["LoadBalancer", var.api_metric_names.load_balancer]
  aurora = ["DBClusterIdentifier", var.database_cluster]

  graphs = [
    {
      title   = "Runs: failed, with many rejected records, nightly builds"
      stat    = "Sum"
      metrics = [for name in ["failed_runs", "rejected_records", "nightly_builds"] : [local.namespace, name]]
    },
    {
      title   = "API: requests, 5xx"
      stat    = "Sum"
      metrics = [for name in ["RequestCount", "HTTPCode_Target_5XX_Count", "HTTPCode_ELB_5XX_Count"] : concat(["AWS/ApplicationELB", name], local.api_lb)]
    },
    {
      title   = "API: 99th percentile of the response time in seconds"
      stat    = "p99"
      metrics = [concat(["AWS/ApplicationELB", "TargetResponseTime"], local.api_lb)]
    },
    {
      title   = "API: CPU and memory in percent"
      stat    = "Average"
      metrics = [for name in ["CPUUtilization", "MemoryUtilization"] : ["AWS/ECS", name, "ClusterName", var.cluster.name, "ServiceName", "api"]]
    },
    {
      title   = "Dagster: CPU in percent"
      stat    = "Average"
      metrics = [for name in ["webserver", "daemon", "code"] : ["AWS/ECS", "CPUUtilization", "ClusterName", var.cluster.name, "ServiceName", name]]
    },
    {
      title   = "Dagster: memory in percent"
      stat    = "Average"
      metrics = [for name in ["webserver", "daemon", "code"] : ["AWS/ECS", "MemoryUtilization", "ClusterName", var.cluster.name, "ServiceName", name]]
    },
    {
      title   = "Database: capacity units"
      stat    = "Average"
      metrics = [concat(["AWS/RDS", "ServerlessDatabaseCapacity"], local.aurora)]
    },
    {
      title   = "Database: connections"
      stat    = "Average"
      metrics = [concat(["AWS/RDS", "DatabaseConnections"], local.aurora)]
    },
    {
      title   = "Database: bytes"
      stat    = "Maximum"
      metrics = [concat(["AWS/RDS", "VolumeBytesUsed"], local.aurora)]
    },
  ]
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.prefix

  dashboard_body = jsonencode({
    widgets = concat(
      [{
        type   = "alarm"
        x      = 0
        y      = 0
        width  = 24
        height = 3
        properties = {
          title = "Alarms"
          alarms = concat(
            values(aws_cloudwatch_metric_alarm.pipeline)[*].arn,
            values(aws_cloudwatch_metric_alarm.service)[*].arn,
            values(aws_cloudwatch_metric_alarm.low)[*].arn,
          )
        }
      }],
      [for number, graph in local.graphs : {
        type       = "metric"
        x          = number % 3 * 8
        y          = 3 + floor(number / 3) * 6
        width      = 8
        height     = 6
        properties = { title = graph.title, stat = graph.stat, metrics = graph.metrics, region = local.region, period = 300 }
      }],
    )
  })
}
