# Lets the release workflow of one GitHub repository push images for version tags, without a long-lived key.
locals {
  github   = var.github == null ? {} : { this = var.github }
  issuer   = "token.actions.githubusercontent.com"
  provider = { for name, each in local.github : name => coalesce(each.provider_arn, one(aws_iam_openid_connect_provider.github[*].arn)) }
}

# An account can have only one per issuer: an existing one is named by provider_arn.
resource "aws_iam_openid_connect_provider" "github" {
  count = var.github != null && try(var.github.provider_arn, null) == null ? 1 : 0

  url            = "https://${local.issuer}"
  client_id_list = ["sts.amazonaws.com"]
}

data "aws_iam_policy_document" "trust" {
  for_each = local.github

  statement {
    actions = ["sts:AssumeRoleWithWebIdentity"]

    principals {
      type        = "Federated"
      identifiers = [local.provider[each.key]]
    }

    condition {
      test     = "StringEquals"
      variable = "${local.issuer}:aud"
      values   = ["sts.amazonaws.com"]
    }

    condition {
      test     = "StringLike"
      variable = "${local.issuer}:sub"
      values   = ["repo:${each.value.repository}:ref:refs/tags/v*"]
    }
  }
}

data "aws_iam_policy_document" "push" {
  for_each = local.github

  statement {
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"]
  }

  statement {
    actions = [
      "ecr:BatchCheckLayerAvailability",
      "ecr:BatchGetImage",
      "ecr:CompleteLayerUpload",
      "ecr:GetDownloadUrlForLayer",
      "ecr:InitiateLayerUpload",
      "ecr:ListImages",
      "ecr:PutImage",
      "ecr:UploadLayerPart",
    ]
    resources = [for each in aws_ecr_repository.this : each.arn]
  }
}

resource "aws_iam_role" "push" {
  for_each = local.github

  name               = "${var.prefix}-push"
  assume_role_policy = data.aws_iam_policy_document.trust[each.key].json
}

resource "aws_iam_role_policy" "push" {
  for_each = local.github

  name   = "push"
  role   = aws_iam_role.push[each.key].id
  policy = data.aws_iam_policy_document.push[each.key].json
}
