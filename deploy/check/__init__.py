"""What `make aws-check` and `make kubernetes-check` have in common: the report of their results.

What they check is in deploy/aws/check and deploy/kubernetes/check.
"""
