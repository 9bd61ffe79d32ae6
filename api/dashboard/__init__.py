"""GET /: both metrics of a year as a page for people, rendered here, whole without scripts or other servers."""
