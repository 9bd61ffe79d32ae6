"""The deployment on AWS: Terraform code, Dagster's instance settings there, and scripts for releases.

deploy/aws/check tests them without an account. Images are in deploy/docker; code that runs in the tasks is in
orchestration and api.
"""
