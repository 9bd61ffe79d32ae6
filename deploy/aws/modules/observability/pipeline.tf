# Alarms of the pipeline. They count lines that Dagster logs anyway.
locals {
  namespace = "${var.prefix}/pipeline"

  # The line has to contain every quoted part.
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
      pattern   = "\"Sensor late_marts skipped\" \"loads wait too long\""
    }
    unlaunched_runs = {
      log_group = var.log_groups.daemon
      pattern   = "\"created successfully but failed to launch\""
    }
    given_up = {
      log_group = var.log_groups.daemon
      pattern   = "\" skipped: \" \"; given up after \""
    }
    failed_ticks = {
      log_group = var.log_groups.daemon
      pattern   = "\"caught an error for \""
    }
    finished_ticks = {
      log_group = var.log_groups.daemon
      pattern   = "\"Sensor late_marts skipped: \""
    }
  }

  pipeline_alarms = {
    failed_runs = {
      description = "A run has failed. Its page in the Dagster UI has the error."
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
    # The sensor runs every minute, and allows time for loads that recover without help.
    waiting_loads = {
      description = "Complete loads have waited for the marts for more than 15 minutes. Open the last failed run of refresh."
      period      = 300
      periods     = 2
      comparison  = "GreaterThanThreshold"
      threshold   = 0
      missing     = "notBreaching"
    }
    unlaunched_runs = {
      description = "A run could not be launched: no task could be started for it. The daemon's log has the reason; sensors try again."
      period      = 60
      periods     = 1
      comparison  = "GreaterThanThreshold"
      threshold   = 0
      missing     = "notBreaching"
    }
    given_up = {
      description = "A sensor has given up after several attempts at the same work. Its last tick in the Dagster UI says what to do."
      period      = 300
      periods     = 1
      comparison  = "GreaterThanThreshold"
      threshold   = 0
      missing     = "notBreaching"
    }
    # A new version's code server takes a minute or two to take over; ticks fail meanwhile.
    failed_ticks = {
      description = "Sensors or schedules have failed for a quarter of an hour: see their last ticks in the Dagster UI. Is the service code running? Is the database up?"
      period      = 300
      periods     = 3
      comparison  = "GreaterThanThreshold"
      threshold   = 0
      missing     = "notBreaching"
    }
    # late_marts runs every minute. Sensors need both the code server and the daemon.
    finished_ticks = {
      description = "No sensor has run for ten minutes: nothing is loaded. See the services daemon and code in ECS, and their logs."
      period      = 300
      periods     = 2
      comparison  = "LessThanThreshold"
      threshold   = 1
      missing     = "breaching"
    }
    # There has to be one per day: whatever is broken (daemon, schedule, runs, database), this detects it.
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

# ECS's events of tasks and services. A run that fails exits with 0 and has logged it; one that was killed, or any
# task that never started, logs nothing.
locals {
  events = {
    killed-tasks = {
      description = "Runs that were killed (memory, an error of the host), and tasks of any kind that could not start (image, secret, capacity)"
      pattern = {
        detail-type = ["ECS Task State Change"]
        detail = {
          clusterArn = [var.cluster.arn]
          lastStatus = ["STOPPED"]
          "$or" = [
            { stopCode = ["TaskFailedToStart"] },
            {
              group      = ["family:${var.run_family}"]
              stopCode   = ["EssentialContainerExited"]
              containers = { exitCode = [{ anything-but = [0] }] }
            },
          ]
        }
      }
      paths = { what = "$.detail.group", task = "$.detail.taskArn", why = "$.detail.stoppedReason" }
      text  = "A task of <what> was killed or did not start: <why> (<task>). A run is retried at most twice; a service retries forever."
    }
    failing-services = {
      description = "Services whose tasks do not start or cannot be placed, and rollouts that ECS has given up or rolled back"
      pattern = {
        detail-type = ["ECS Service Action", "ECS Deployment State Change"]
        resources   = [{ prefix = "${replace(var.cluster.arn, ":cluster/", ":service/")}/" }]
        detail = {
          eventName = ["SERVICE_TASK_START_IMPAIRED", "SERVICE_TASK_PLACEMENT_FAILURE", "SERVICE_DEPLOYMENT_FAILED"]
        }
      }
      paths = { what = "$.resources[0]", name = "$.detail.eventName" }
      text  = "<name>: <what>. See its events in ECS and the log of its tasks."
    }
  }
}

resource "aws_cloudwatch_event_rule" "this" {
  for_each = local.events

  name          = "${var.prefix}-${each.key}"
  description   = each.value.description
  event_pattern = jsonencode(merge({ source = ["aws.ecs"] }, each.value.pattern))
}

resource "aws_cloudwatch_event_target" "this" {
  for_each = local.events

  rule      = aws_cloudwatch_event_rule.this[each.key].name
  target_id = "alarms"
  arn       = aws_sns_topic.alarms.arn

  input_transformer {
    input_paths = each.value.paths
    # Not jsonencode, which escapes < and >.
    input_template = "\"${each.value.text}\""
  }
}
