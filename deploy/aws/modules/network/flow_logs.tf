# Logs refused connections, to find intruders or missing rules.
resource "aws_cloudwatch_log_group" "refused" {
  count = local.own

  name              = "/${var.prefix}/refused-connections"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.key_arn
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["vpc-flow-logs.amazonaws.com"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [data.aws_caller_identity.current.account_id]
    }
  }
}

data "aws_iam_policy_document" "write" {
  count = local.own

  statement {
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"]
    resources = ["${aws_cloudwatch_log_group.refused[0].arn}:*"]
  }
}

resource "aws_iam_role" "flow_logs" {
  count = local.own

  name               = "${var.prefix}-flow-logs"
  description        = "Lets the VPC write its log of refused connections"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_role_policy" "flow_logs" {
  count = local.own

  name   = "write"
  role   = aws_iam_role.flow_logs[0].id
  policy = data.aws_iam_policy_document.write[0].json
}

resource "aws_flow_log" "refused" {
  count = local.own

  vpc_id               = local.vpc_id
  traffic_type         = "REJECT"
  log_destination_type = "cloud-watch-logs"
  log_destination      = aws_cloudwatch_log_group.refused[0].arn
  iam_role_arn         = aws_iam_role.flow_logs[0].arn

  tags = { Name = "${var.prefix}-refused" }
}
