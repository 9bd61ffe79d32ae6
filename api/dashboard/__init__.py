"""GET /: both metrics of a year as a page for people, rendered here, whole without scripts or other servers.

What the metrics are is in `api.metrics`; the documentation's pages are in `api.protocol.docs`.
"""
