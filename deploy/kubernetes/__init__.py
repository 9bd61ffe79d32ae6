"""Deployment on Kubernetes: manifests of the API (kustomize) and values of Dagster's Helm chart.

deploy/kubernetes/check tests them without a cluster. Images are in deploy/docker; code that runs in the pods is in
orchestration and api.
"""
