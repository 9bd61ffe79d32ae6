# Alarms of the pipeline. Nothing is emitted for them: each counts lines that Dagster logs anyway.
locals {
  namespace = "${var.prefix}/pipeline"

  # Every part in quotes has to be in the line.
  lines = {
    failed_runs = {
      log_group = var.log_groups.run
      pattern   = "\" - RUN_FAILURE - \""
    }
    rejected_records = {
      log_group = var.log_groups.run
      pattern   = "\"Asset check 'few_records_rejected'\" \"did not pass\""
    }
    nightly_builds = {
      log_group = var.log_groups.run
      pattern   = "\" - nightly_build - \" \" - RUN_SUCCESS - \""
    }
    waiting_loads = {
      log_group = var.log_groups.daemon
      pattern   = "\"Sensor late_marts skipped\" \"loads wait\""
    }
  }

  pipeline_alarms = {
    failed_runs = {
      description = "A run has failed. Its page in the Dagster UI says what, where and why."
      period      = 60
      periods     = 1
      comparison  = "GreaterThanThreshold"
      threshold   = 0
      missing     = "notBreaching"
    }
    rejected_records = {
      description = "More than 1 % of a load's records were rejected. See raw/rejected_records and staging/rejected_records in the Dagster UI."
      period      = 300
      periods     = 1
      comparison  = "GreaterThanThreshold"
      threshold   = 0
      missing     = "notBreaching"
    }
    # The sensor looks each minute.
    waiting_loads = {
      description = "For half an hour there was a complete load that the marts do not show. Open the last failed run of refresh."
      period      = 300
      periods     = 6
      comparison  = "GreaterThanThreshold"
      threshold   = 0
      missing     = "notBreaching"
    }
    # A day has to have one: whatever is broken (daemon, schedule, runs, database), this tells.
    nightly_builds = {
      description = "No nightly_build has succeeded for 26 hours: the marts are stale. Is the service daemon up, is build_every_night on, has its run failed?"
      period      = 3600
      periods     = 26
      comparison  = "LessThanThreshold"
      threshold   = 1
      missing     = "breaching"
    }
  }
}

resource "aws_cloudwatch_log_metric_filter" "lines" {
  for_each = local.lines

  name           = "${var.prefix}-${each.key}"
  log_group_name = each.value.log_group
  pattern        = each.value.pattern

  metric_transformation {
    namespace = local.namespace
    name      = each.key
    value     = "1"
  }
}

resource "aws_cloudwatch_metric_alarm" "pipeline" {
  for_each = local.pipeline_alarms

  alarm_name          = "${var.prefix}-${replace(each.key, "_", "-")}"
  alarm_description   = each.value.description
  namespace           = local.namespace
  metric_name         = aws_cloudwatch_log_metric_filter.lines[each.key].metric_transformation[0].name
  statistic           = "Sum"
  period              = each.value.period
  evaluation_periods  = each.value.periods
  comparison_operator = each.value.comparison
  threshold           = each.value.threshold
  treat_missing_data  = each.value.missing
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}

# The daemon writes a line for every tick: no line is no daemon.
resource "aws_cloudwatch_metric_alarm" "silent_daemon" {
  alarm_name          = "${var.prefix}-silent-daemon"
  alarm_description   = "The daemon has written nothing for ten minutes: no sensor, no schedule. Look at the service daemon in ECS."
  namespace           = "AWS/Logs"
  metric_name         = "IncomingLogEvents"
  dimensions          = { LogGroupName = var.log_groups.daemon }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 2
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  treat_missing_data  = "breaching"
  alarm_actions       = [aws_sns_topic.alarms.arn]
  ok_actions          = [aws_sns_topic.alarms.arn]
}

# A run that fails by itself ends with 0 and has said so; one that was killed, or never started, says nothing.
resource "aws_cloudwatch_event_rule" "killed_runs" {
  name        = "${var.prefix}-killed-runs"
  description = "Runs whose task was killed (memory, an error of the host) or could not start (image, secret, capacity)"

  event_pattern = jsonencode({
    source      = ["aws.ecs"]
    detail-type = ["ECS Task State Change"]
    detail = {
      clusterArn = [var.cluster.arn]
      group      = ["family:${var.run_family}"]
      lastStatus = ["STOPPED"]
      "$or" = [
        { stopCode = ["TaskFailedToStart"] },
        { stopCode = ["EssentialContainerExited"], containers = { exitCode = [{ anything-but = [0] }] } },
      ]
    }
  })
}

resource "aws_cloudwatch_event_target" "killed_runs" {
  rule      = aws_cloudwatch_event_rule.killed_runs.name
  target_id = "alarms"
  arn       = aws_sns_topic.alarms.arn

  input_transformer {
    input_paths    = { task = "$.detail.taskArn", why = "$.detail.stoppedReason" }
    input_template = "\"A run's task was killed or did not start: <why> (<task>). Dagster starts it again, twice at most.\""
  }
}
