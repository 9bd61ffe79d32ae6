"""What tells that something is wrong, and what keeps it small: checks, alerts, nightly maintenance."""
