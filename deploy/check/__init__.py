"""What `make aws-check` and `make kubernetes-check` have in common: how they say what is true."""
