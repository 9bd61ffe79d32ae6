"""Whether something is wrong, who is alerted, and what keeps Dagster's own database small: checks, alerts, maintenance.

Dagster's assets, checks and sensors that use it are not here (defs/).
"""
