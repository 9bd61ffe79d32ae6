# Dagster's task definitions. Their permissions are in policies.tf, the services in services.tf.
data "aws_region" "current" {}

locals {
  code_port = 4000
  ui_port   = 3000
  code_host = "${aws_service_discovery_service.code.name}.${aws_service_discovery_private_dns_namespace.this.name}"

  common = merge(var.postgres, {
    AWS_DEFAULT_REGION = data.aws_region.current.name
    DAGSTER_HOME       = "/app/deploy/aws/dagster"
    DAGSTER_UI_URL     = var.ui_url
  })

  # Code server and runs execute our code; webserver and daemon only query the code server and launch runs.
  executes = merge(local.common, {
    S3_BUCKET         = var.landing.name
    S3_ARCHIVE_BUCKET = var.archive.name
    # Each listing of the bucket costs money, and a run takes a minute to start anyway.
    SCAN_INTERVAL_SECONDS = "10"
  })

  dagster = merge(local.common, {
    DAGSTER_CODE_HOST           = local.code_host
    DAGSTER_CODE_PORT           = tostring(local.code_port)
    DAGSTER_RUN_TASK_DEFINITION = module.run.definition_arn
  })

  storage_secret = { DAGSTER_PG_URL = var.secret_arns.DAGSTER_PG_URL }

  executing_secrets = merge(
    local.storage_secret,
    {
      for name in ["HIRING_LOADER_PASSWORD", "HIRING_TRANSFORMER_PASSWORD", "HIRING_RESTORER_PASSWORD"] :
      name => var.secret_arns[name]
    },
    var.alert_webhook ? { ALERT_WEBHOOK_URL = var.secret_arns.ALERT_WEBHOOK_URL } : {},
  )

  # The code server waits for the database and its migrations, the other two for the code server.
  wait = { for what in ["database", "code-server"] : what => ["python", "-m", "deploy.wait", what] }
}

# Started by Dagster, one task per run, with the run's command.
module "run" {
  source = "../task"

  name        = "run"
  command     = ["dagster", "--version"]
  environment = local.executes
  secrets     = local.executing_secrets
  size        = var.sizes.run
  policies    = { buckets = data.aws_iam_policy_document.run.json }
  # A load that is asked to stop finishes its current chunk; the next run resumes there.
  stop_timeout = 120

  prefix             = var.prefix
  image              = var.image.uri
  repository_arn     = var.image.repository_arn
  cpu_architecture   = var.cpu_architecture
  key_arn            = var.key_arn
  log_retention_days = var.log_retention_days
}

# Started manually or by a pipeline, once per version and per rotation of passwords.
module "migrate" {
  source = "../task"

  name        = "migrate"
  command     = ["python", "-m", "deploy.migrate"]
  environment = local.common
  secrets = merge(
    { for name, arn in local.executing_secrets : name => arn if name != "ALERT_WEBHOOK_URL" },
    {
      HIRING_API_PASSWORD    = var.secret_arns.HIRING_API_PASSWORD
      HIRING_READER_PASSWORD = var.secret_arns.HIRING_READER_PASSWORD
      PGUSER                 = "${var.administrator_secret_arn}:username::"
      PGPASSWORD             = "${var.administrator_secret_arn}:password::"
    },
  )
  size = { cpu = 512, memory = 1024 }

  prefix             = var.prefix
  image              = var.image.uri
  repository_arn     = var.image.repository_arn
  cpu_architecture   = var.cpu_architecture
  key_arn            = var.key_arn
  log_retention_days = var.log_retention_days
}

# The way into the VPC, started by the script tunnel: a port is forwarded through it with ECS Exec. It does nothing itself,
# has no secrets, and ends after four hours if the script did not stop it.
module "ops" {
  source = "../task"

  name        = "ops"
  command     = ["sleep", "14400"]
  environment = {}
  secrets     = {}
  size        = { cpu = 256, memory = 512 }
  policies    = { channels = data.aws_iam_policy_document.ops.json }
  ecs_exec    = true

  prefix             = var.prefix
  image              = var.image.uri
  repository_arn     = var.image.repository_arn
  cpu_architecture   = var.cpu_architecture
  key_arn            = var.key_arn
  log_retention_days = var.log_retention_days
}

# Sensors and schedules are evaluated here; it lists the landing bucket and reads none of its objects.
module "code" {
  source = "../task"

  name = "code"
  command = concat(local.wait["database"], [
    "dagster", "api", "grpc", "--module-name", "orchestration.definitions", "--location-name", "hiring",
    "--host", "0.0.0.0", "--port", tostring(local.code_port),
  ])
  environment    = local.executes
  secrets        = local.executing_secrets
  ports          = [local.code_port]
  health_command = ["python", "-m", "deploy.probes", "grpc", tostring(local.code_port)]
  size           = var.sizes.code
  policies       = { bucket = data.aws_iam_policy_document.code.json }

  prefix             = var.prefix
  image              = var.image.uri
  repository_arn     = var.image.repository_arn
  cpu_architecture   = var.cpu_architecture
  key_arn            = var.key_arn
  log_retention_days = var.log_retention_days
}

module "daemon" {
  source = "../task"

  name           = "daemon"
  command        = concat(local.wait["code-server"], ["dagster-daemon", "run", "-w", "/app/deploy/workspace.yaml"])
  environment    = local.dagster
  secrets        = local.storage_secret
  health_command = ["python", "-m", "deploy.probes", "daemon"]
  size           = var.sizes.daemon
  policies       = { runs = data.aws_iam_policy_document.launcher.json }

  prefix             = var.prefix
  image              = var.image.uri
  repository_arn     = var.image.repository_arn
  cpu_architecture   = var.cpu_architecture
  key_arn            = var.key_arn
  log_retention_days = var.log_retention_days
}

module "webserver" {
  source = "../task"

  name = "webserver"
  command = concat(local.wait["code-server"], [
    "dagster-webserver", "-h", "0.0.0.0", "-p", tostring(local.ui_port), "-w", "/app/deploy/workspace.yaml",
  ])
  environment    = local.dagster
  secrets        = local.storage_secret
  ports          = [local.ui_port]
  health_command = ["python", "-m", "deploy.probes", "http", "${local.ui_port}/server_info"]
  size           = var.sizes.webserver
  policies       = { runs = data.aws_iam_policy_document.launcher.json }

  prefix             = var.prefix
  image              = var.image.uri
  repository_arn     = var.image.repository_arn
  cpu_architecture   = var.cpu_architecture
  key_arn            = var.key_arn
  log_retention_days = var.log_retention_days
}
