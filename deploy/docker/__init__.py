"""The pipeline in containers: the images, and the secrets and backups of docker-compose.yml.

The compose files are in the project's root, their end-to-end check is in tests/containers, probes are in deploy.
"""
