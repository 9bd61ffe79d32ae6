# Permissions of Dagster's tasks in AWS. The migrate task has none.
data "aws_caller_identity" "current" {}

locals {
  ecs = "arn:aws:ecs:${data.aws_region.current.name}:${data.aws_caller_identity.current.account_id}"
}

data "aws_iam_policy_document" "code" {
  statement {
    sid       = "ListLanding"
    actions   = ["s3:ListBucket", "s3:ListBucketVersions", "s3:GetBucketVersioning"]
    resources = [var.landing.arn]
  }
}

data "aws_iam_policy_document" "run" {
  source_policy_documents = [data.aws_iam_policy_document.code.json]

  statement {
    sid       = "ReadLanding"
    actions   = ["s3:GetObject", "s3:GetObjectVersion"]
    resources = ["${var.landing.arn}/*"]
  }

  statement {
    sid       = "ListArchive"
    actions   = ["s3:ListBucket"]
    resources = [var.archive.arn]
  }

  # No permission to delete exports: the bucket's lifecycle rule does that.
  statement {
    sid       = "ReadAndAddToArchive"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:AbortMultipartUpload"]
    resources = ["${var.archive.arn}/*"]
  }

  statement {
    sid       = "Key"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = concat([var.key_arn], var.landing_key_arn[*])

    condition {
      test     = "StringEquals"
      variable = "kms:ViaService"
      values   = ["s3.${data.aws_region.current.name}.amazonaws.com"]
    }
  }
}

# Webserver and daemon start, stop and monitor runs.
data "aws_iam_policy_document" "launcher" {
  statement {
    sid       = "StartRuns"
    actions   = ["ecs:RunTask"]
    resources = ["${local.ecs}:task-definition/${module.run.family}:*"]

    condition {
      test     = "ArnEquals"
      variable = "ecs:cluster"
      values   = [var.cluster.arn]
    }
  }

  statement {
    sid       = "NameRuns"
    actions   = ["ecs:TagResource"]
    resources = ["${local.ecs}:task/${var.cluster.name}/*"]

    condition {
      test     = "StringEquals"
      variable = "ecs:CreateAction"
      values   = ["RunTask"]
    }
  }

  statement {
    sid       = "LookAtTasks"
    actions   = ["ecs:DescribeTasks"]
    resources = ["${local.ecs}:task/${var.cluster.name}/*"]
  }

  # Only tasks that Dagster has started have this tag.
  statement {
    sid       = "StopRuns"
    actions   = ["ecs:StopTask"]
    resources = ["${local.ecs}:task/${var.cluster.name}/*"]

    condition {
      test     = "StringLike"
      variable = "aws:ResourceTag/dagster/run_id"
      values   = ["?*"]
    }
  }

  # Neither can be narrowed to one resource.
  statement {
    sid       = "LookAtDefinitionsAndAddresses"
    actions   = ["ecs:DescribeTaskDefinition", "ec2:DescribeNetworkInterfaces"]
    resources = ["*"]
  }

  statement {
    sid       = "ReadLogsOfRuns"
    actions   = ["logs:GetLogEvents"]
    resources = ["${module.run.log_group.arn}:log-stream:*"]
  }

  statement {
    sid       = "PassRolesOfRuns"
    actions   = ["iam:PassRole"]
    resources = module.run.role_arns

    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = ["ecs-tasks.amazonaws.com"]
    }
  }
}

# What ECS Exec's agent needs to forward a port. It cannot be narrowed to one resource.
data "aws_iam_policy_document" "ops" {
  statement {
    sid = "Channels"
    actions = [
      "ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel",
      "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel",
    ]
    resources = ["*"]
  }
}
