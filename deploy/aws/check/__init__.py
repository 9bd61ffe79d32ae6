"""Whether the Terraform is right: applied to an AWS of our own, then looked at the way AWS would show it."""
