"""GET /: both metrics of a year as a page for people, rendered here, without scripts and without other servers."""
