# Three buckets: landing (deliveries), archive (exports of the raw tables), logs (access logs).
data "aws_caller_identity" "current" {}

locals {
  # An existing bucket stays as it is: its owner is responsible for versioning, policy and key.
  landing = coalesce(var.landing_bucket, "${var.prefix}-landing-${local.suffix}")

  suffix = data.aws_caller_identity.current.account_id
}

module "landing" {
  source = "../bucket"
  count  = var.landing_bucket == null ? 1 : 0

  name              = local.landing
  key_arn           = var.key_arn
  disposable        = var.disposable
  noncurrent_days   = var.landing_noncurrent_days
  access_log_bucket = module.logs.name
  policies          = length(var.landing_writer_arns) > 0 ? { writers = data.aws_iam_policy_document.writers.json } : {}
}

module "archive" {
  source = "../bucket"

  name                   = "${var.prefix}-archive-${local.suffix}"
  key_arn                = var.key_arn
  disposable             = var.disposable
  expire_days            = var.archive_days
  infrequent_access_days = 30
  noncurrent_days        = 30
  access_log_bucket      = module.logs.name
}

module "logs" {
  source = "../bucket"

  name            = "${var.prefix}-logs-${local.suffix}"
  for_logs        = true
  disposable      = var.disposable
  expire_days     = var.log_retention_days
  noncurrent_days = 7
  policies        = { delivery = data.aws_iam_policy_document.delivery.json }
}

data "aws_iam_policy_document" "writers" {
  statement {
    sid       = "WritersPut"
    actions   = ["s3:PutObject", "s3:AbortMultipartUpload"]
    resources = ["arn:aws:s3:::${local.landing}/*"]

    principals {
      type        = "AWS"
      identifiers = var.landing_writer_arns
    }
  }
}

data "aws_iam_policy_document" "delivery" {
  # The key contains the load balancer's account, so no other account's can write here.
  statement {
    sid       = "LoadBalancers"
    actions   = ["s3:PutObject"]
    resources = ["arn:aws:s3:::${var.prefix}-logs-${local.suffix}/alb/*/AWSLogs/${local.suffix}/*"]

    principals {
      type        = "Service"
      identifiers = ["logdelivery.elasticloadbalancing.amazonaws.com"]
    }
  }

  statement {
    sid       = "RequestsToBuckets"
    actions   = ["s3:PutObject"]
    resources = ["arn:aws:s3:::${var.prefix}-logs-${local.suffix}/*"]

    principals {
      type        = "Service"
      identifiers = ["logging.s3.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.suffix]
    }
  }
}
