"""The deployment on AWS: Terraform, Dagster's instance there, and the check of both without an account."""
