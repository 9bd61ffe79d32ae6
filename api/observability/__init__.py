"""What the process says about its own work: log lines as JSON, and request metrics for Prometheus.

The metrics of the hires are in `api.metrics`.
"""
