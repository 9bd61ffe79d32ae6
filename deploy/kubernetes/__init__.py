"""Manifests of the API and values of Dagster's Helm chart, and the check behind `make kubernetes-check`."""
