"""The ways to run the pipeline: on this machine (local), in containers (docker), on AWS (aws), on Kubernetes.

Modules here are shared by these ways: migrations, waiting for servers, health probes. What runs belongs to
orchestration and api, which never import this package; the embedded stack's Postgres belongs to deploy/local.
"""
