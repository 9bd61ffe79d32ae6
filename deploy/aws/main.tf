# The deployment: its modules and how they are connected.
locals {
  prefix   = "${var.name}-${var.environment}"
  api_port = 8000

  images = {
    for name, repository in module.images.repositories :
    name => { uri = "${repository.url}:${var.image_tag}", repository_arn = repository.arn }
  }

  # The UI's name resolves to private addresses, which are not secret; the zone may still be private.
  dns = {
    for name, domain in { api = var.api_domain_name, ui = var.ui_domain_name } :
    name => var.hosted_zone_id == null || domain == null ? null : { zone_id = var.hosted_zone_id, name = domain }
  }

  cluster = { name = aws_ecs_cluster.this.name, arn = aws_ecs_cluster.this.arn }

  # libpq's variables of every task that connects. With PGSSLROOTCERT, require would verify the certificate, too.
  postgres = merge(
    {
      PGHOST     = module.database.address.host
      PGPORT     = tostring(module.database.address.port)
      PGDATABASE = module.database.address.database
    },
    var.database_verify_certificate ? {
      PGSSLMODE     = "verify-full"
      PGSSLROOTCERT = "/app/certificates/global-bundle.pem"
    } : { PGSSLMODE = "require" },
  )
}

module "encryption" {
  source = "./modules/encryption"

  prefix              = local.prefix
  landing_writer_arns = var.landing_writer_arns
}

module "network" {
  source = "./modules/network"

  prefix               = local.prefix
  existing             = var.existing_vpc
  cidr                 = var.vpc_cidr
  availability_zones   = var.availability_zones
  nat_gateway_per_zone = var.nat_gateway_per_zone
  interface_endpoints  = var.interface_endpoints
  log_retention_days   = var.log_retention_days
  key_arn              = module.encryption.key_arn
}

module "storage" {
  source = "./modules/storage"

  prefix                  = local.prefix
  key_arn                 = module.encryption.key_arn
  landing_writer_arns     = var.landing_writer_arns
  landing_bucket          = try(var.existing_landing_bucket.name, null)
  landing_noncurrent_days = var.landing_noncurrent_days
  disposable              = var.disposable
  archive_days            = var.archive_days
  log_retention_days      = var.log_retention_days
}

module "images" {
  source = "./modules/images"

  prefix  = local.prefix
  key_arn = module.encryption.key_arn
  github  = var.github

  disposable = var.disposable
}

module "database" {
  source = "./modules/database"

  prefix             = local.prefix
  vpc_id             = module.network.vpc_id
  subnet_ids         = module.network.private_subnet_ids
  key_arn            = module.encryption.key_arn
  engine_version     = var.database_engine_version
  capacity           = var.database_capacity
  instances          = var.database_instances
  backup_days        = var.database_backup_days
  disposable         = var.disposable
  log_retention_days = var.log_retention_days

  client_security_groups = {
    orchestration = module.network.orchestration_security_group_id
    api           = module.network.api_security_group_id
    ops           = module.network.ops_security_group_id
  }
}

module "secrets" {
  source = "./modules/secrets"

  prefix            = local.prefix
  key_arn           = module.encryption.key_arn
  passwords_version = var.passwords_version
  disposable        = var.disposable
  database          = module.database.address
}

resource "aws_ecs_cluster" "this" {
  name = local.prefix

  setting {
    name  = "containerInsights"
    value = var.container_insights
  }
}

module "ui_balancer" {
  source = "./modules/load_balancer"

  prefix                   = local.prefix
  name                     = "ui"
  internal                 = true
  vpc_id                   = module.network.vpc_id
  subnet_ids               = module.network.private_subnet_ids
  allowed_cidrs            = var.ui_allowed_cidrs
  target_security_group_id = module.network.orchestration_security_group_id
  port                     = 3000
  health_path              = "/server_info"
  certificate_arn          = var.ui_certificate_arn
  dns                      = local.dns.ui
  disposable               = var.disposable
  log_bucket               = module.storage.log_bucket
  oidc                     = var.ui_oidc
  oidc_client_secret       = var.ui_oidc_client_secret
}

module "orchestration" {
  source = "./modules/orchestration"

  prefix                   = local.prefix
  cluster                  = local.cluster
  vpc_id                   = module.network.vpc_id
  subnet_ids               = module.network.private_subnet_ids
  security_group_id        = module.network.orchestration_security_group_id
  image                    = local.images.orchestration
  cpu_architecture         = var.cpu_architecture
  sizes                    = { for name in ["webserver", "daemon", "code", "run"] : name => var.task_sizes[name] }
  postgres                 = local.postgres
  secret_arns              = module.secrets.arns
  administrator_secret_arn = module.database.administrator_secret_arn
  alert_webhook            = var.alert_webhook
  landing                  = module.storage.landing
  landing_key_arn          = try(var.existing_landing_bucket.key_arn, null)
  archive                  = module.storage.archive
  ui_url                   = "https://${var.ui_domain_name}"
  ui_target_group_arn      = module.ui_balancer.target_group_arn
  key_arn                  = module.encryption.key_arn
  log_retention_days       = var.log_retention_days
}

# The target of the first apply: the tasks that are run manually before there are services, with their dependencies.
resource "terraform_data" "migration" {
  input = [
    module.orchestration.migrate_definition_arn,
    module.orchestration.run_definition_arn,
    module.orchestration.ops_definition_arn,
  ]
  depends_on = [aws_ecs_cluster.this, module.network, module.secrets, module.database]
}

module "api_balancer" {
  source = "./modules/load_balancer"

  prefix                   = local.prefix
  name                     = "api"
  internal                 = false
  vpc_id                   = module.network.vpc_id
  subnet_ids               = module.network.public_subnet_ids
  allowed_cidrs            = var.api_allowed_cidrs
  target_security_group_id = module.network.api_security_group_id
  port                     = local.api_port
  # Not /health/ready: ECS stops a task that fails this, and while the database is down the API serves cached responses. Not
  # /health/live: a version without its migration would replace the one that works.
  health_path     = "/health/started"
  certificate_arn = var.api_certificate_arn
  dns             = local.dns.api
  disposable      = var.disposable

  requests_per_address = var.api_requests_per_address
  log_bucket           = module.storage.log_bucket
}

module "api" {
  source = "./modules/api"

  prefix             = local.prefix
  cluster            = local.cluster
  subnet_ids         = module.network.private_subnet_ids
  security_group_id  = module.network.api_security_group_id
  image              = local.images.api
  cpu_architecture   = var.cpu_architecture
  size               = var.task_sizes.api
  tasks              = var.api_tasks
  requests_per_task  = var.api_requests_per_task
  open_reads         = var.api_open_reads
  port               = local.api_port
  proxy_cidr         = try(var.existing_vpc.cidr, var.vpc_cidr)
  postgres           = local.postgres
  secret_arns        = module.secrets.arns
  target_group_arn   = module.api_balancer.target_group_arn
  metric_names       = module.api_balancer.metric_names
  key_arn            = module.encryption.key_arn
  log_retention_days = var.log_retention_days
}

module "observability" {
  source = "./modules/observability"

  prefix                     = local.prefix
  emails                     = var.alarm_emails
  key_arn                    = module.encryption.key_arn
  monthly_budget_usd         = var.monthly_budget_usd
  cluster                    = local.cluster
  run_family                 = module.orchestration.run_family
  log_groups                 = module.orchestration.log_groups
  database_cluster           = module.database.cluster_identifier
  database_storage_alarm_gib = var.database_storage_alarm_gib
  api_metric_names           = module.api_balancer.metric_names
  ui_metric_names            = module.ui_balancer.metric_names
  api_slow_seconds           = var.api_slow_seconds
  https_endpoints            = var.alarm_https_endpoints
}
