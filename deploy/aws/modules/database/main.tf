# Aurora PostgreSQL, serverless: one cluster with the databases hiring and dagster.
locals {
  port     = 5432
  database = "hiring"

  has_insights = var.capacity.min >= 2
}

resource "aws_db_subnet_group" "this" {
  name       = var.prefix
  subnet_ids = var.subnet_ids
}

resource "aws_security_group" "this" {
  name        = "${var.prefix}-database"
  description = "The database: reached from the tasks, reaches nothing"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "this" {
  for_each = var.client_security_groups

  security_group_id            = aws_security_group.this.id
  description                  = "Postgres from ${each.key}"
  referenced_security_group_id = each.value
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port
}

resource "aws_vpc_security_group_egress_rule" "clients" {
  for_each = var.client_security_groups

  security_group_id            = each.value
  description                  = "Postgres"
  referenced_security_group_id = aws_security_group.this.id
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port
}

resource "aws_rds_cluster_parameter_group" "this" {
  name        = "${var.prefix}-17"
  family      = "aurora-postgresql17"
  description = "TLS for everybody, a log of slow statements and of changed tables"

  parameter {
    name  = "rds.force_ssl"
    value = "1"
  }

  parameter {
    name  = "log_min_duration_statement"
    value = "1000"
  }

  parameter {
    name  = "log_statement"
    value = "ddl"
  }
}

# Otherwise RDS would create it with unlimited retention.
resource "aws_cloudwatch_log_group" "postgres" {
  name              = "/aws/rds/cluster/${var.prefix}/postgresql"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.key_arn
}

# Snapshots outlive a cluster, and the next cluster of the same name needs another name for its snapshot.
resource "terraform_data" "made_at" {
  input = plantimestamp()

  lifecycle {
    ignore_changes = [input]
  }
}

resource "aws_rds_cluster" "this" {
  cluster_identifier = var.prefix
  engine             = "aurora-postgresql"
  engine_mode        = "provisioned"
  engine_version     = var.engine_version
  database_name      = local.database
  port               = local.port

  # RDS creates the secret and rotates it every week. Only the migrate task reads it, when it starts.
  master_username               = "administrator"
  manage_master_user_password   = true
  master_user_secret_kms_key_id = var.key_arn

  db_subnet_group_name            = aws_db_subnet_group.this.name
  vpc_security_group_ids          = [aws_security_group.this.id]
  db_cluster_parameter_group_name = aws_rds_cluster_parameter_group.this.name

  storage_encrypted = true
  kms_key_id        = var.key_arn

  backup_retention_period      = var.backup_days
  preferred_backup_window      = "01:00-02:00"
  preferred_maintenance_window = "sun:04:30-sun:05:30"
  copy_tags_to_snapshot        = true
  delete_automated_backups     = var.disposable
  deletion_protection          = !var.disposable
  skip_final_snapshot          = var.disposable
  final_snapshot_identifier    = "${var.prefix}-final-${formatdate("YYYYMMDDhhmm", terraform_data.made_at.output)}"

  enabled_cloudwatch_logs_exports = ["postgresql"]

  # SQL from the console and `aws rds-data execute-statement`, without network access to the VPC, if IAM allows it.
  enable_http_endpoint = true

  serverlessv2_scaling_configuration {
    min_capacity = var.capacity.min
    max_capacity = var.capacity.max
  }

  depends_on = [aws_cloudwatch_log_group.postgres]
}

resource "aws_rds_cluster_instance" "this" {
  count = var.instances

  identifier         = "${var.prefix}-${count.index + 1}"
  cluster_identifier = aws_rds_cluster.this.id
  engine             = aws_rds_cluster.this.engine
  engine_version     = aws_rds_cluster.this.engine_version
  instance_class     = "db.serverless"
  promotion_tier     = 0

  publicly_accessible = false
  # In the maintenance window. engine_version is the major version only, so no plan contains a downgrade.
  auto_minor_version_upgrade = true
  copy_tags_to_snapshot      = true

  # It needs 2 units: an instance that may shrink below that would have too little memory left.
  performance_insights_enabled    = local.has_insights
  performance_insights_kms_key_id = local.has_insights ? var.key_arn : null
}
