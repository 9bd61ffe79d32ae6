"""What `make aws-check` and `make kubernetes-check` have in common: the report of their results."""
