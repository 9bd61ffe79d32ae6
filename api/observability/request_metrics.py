"""How many requests there were and how long they took, for Prometheus: on a port of its own that is not public."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector, start_http_server

from api.settings import Settings

# Any client can make up a method; each would be a series of its own.
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class RequestMetrics:
    """How many requests there were and how long they took, by route, method and status."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._seconds = Histogram(
            "http_request_duration_seconds",
            "Time from the request's head to the response's end",
            ["method", "route", "status"],
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
            registry=self.registry,
        )
        # Looking a series up by its labels costs more than counting in it.
        self._series: dict[tuple[str, str, int], Histogram] = {}

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request.

        Args:
            method: of HTTP; unusual ones are counted together.
            route: the path template, never the path itself: there would be a series for each.
            status: of the response.
            seconds: until the response was sent.
        """
        place = (method if method in METHODS else "other", route, status)
        series = self._series.get(place)
        if series is None:
            series = self._series[place] = self._seconds.labels(*place)
        series.observe(seconds)

    @contextmanager
    def served(self, settings: Settings) -> Iterator[None]:
        """Answer GET /internal/metrics for the length of a block, where a port is set for it."""
        if settings.api_metrics_port is None:
            yield
            return
        server, thread = start_http_server(settings.api_metrics_port, settings.api_host, self.registry)
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
