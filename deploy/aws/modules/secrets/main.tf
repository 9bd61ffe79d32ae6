# Secrets of the tasks: the roles' passwords, generated here but not stored in the state, and what an operator fills in.
locals {
  # Names are those of the environment variables in lower case; the values come from the ephemeral resource below.
  passwords = toset(["hiring_loader_password", "hiring_transformer_password", "hiring_restorer_password", "hiring_api_password", "hiring_reader_password"])

  # The name of a secret that is scheduled for deletion cannot be used by the next deployment.
  recovery_days = var.disposable ? 0 : 30

  filled_in = {
    api_keys          = "API_KEYS: a JSON array of name, sha256 and scopes (docs/api.md). Filled in manually."
    alert_webhook_url = "ALERT_WEBHOOK_URL: receiver of alerts (docs/operations.md). Filled in manually."
  }
}

ephemeral "aws_secretsmanager_random_password" "role" {
  for_each = local.passwords

  password_length     = 40
  exclude_punctuation = true
}

resource "aws_secretsmanager_secret" "password" {
  for_each = local.passwords

  name        = "${var.prefix}/${each.key}"
  description = "${upper(each.key)}: set in the database by the migrate task."
  kms_key_id  = var.key_arn

  recovery_window_in_days = local.recovery_days
}

resource "aws_secretsmanager_secret_version" "password" {
  for_each = local.passwords

  secret_id                = aws_secretsmanager_secret.password[each.key].id
  secret_string_wo         = ephemeral.aws_secretsmanager_random_password.role[each.key].random_password
  secret_string_wo_version = var.passwords_version
}

# Dagster needs its database as a URL. Without punctuation nothing in it has to be escaped.
ephemeral "aws_secretsmanager_random_password" "dagster" {
  password_length     = 40
  exclude_punctuation = true
}

resource "aws_secretsmanager_secret" "dagster_pg_url" {
  name        = "${var.prefix}/dagster_pg_url"
  description = "DAGSTER_PG_URL: the migrate task creates role and database."
  kms_key_id  = var.key_arn

  recovery_window_in_days = local.recovery_days
}

resource "aws_secretsmanager_secret_version" "dagster_pg_url" {
  secret_id                = aws_secretsmanager_secret.dagster_pg_url.id
  secret_string_wo         = "postgresql://dagster:${ephemeral.aws_secretsmanager_random_password.dagster.random_password}@${var.database.host}:${var.database.port}/dagster"
  secret_string_wo_version = var.passwords_version
}

resource "aws_secretsmanager_secret" "filled_in" {
  for_each = local.filled_in

  name        = "${var.prefix}/${each.key}"
  description = each.value
  kms_key_id  = var.key_arn

  recovery_window_in_days = local.recovery_days
}
