"""The gateway's own Prometheus metrics: few series, none per session."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Telemetry:
    """Counts what the gateway answers. Session detail is in the ledger, not here."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "dyno_requests", "Requests answered.", ("surface", "http_status"), registry=self._registry
        )
        self._latency = Histogram(
            "dyno_request_latency_seconds",
            "First byte in to last byte out.",
            ("surface",),
            buckets=_BUCKETS_S,
            registry=self._registry,
        )
        self._in_flight = Gauge("dyno_requests_in_flight", "Requests being answered.", registry=self._registry)
        self._backlog = Gauge("dyno_spool_backlog", "Records waiting for the disk.", registry=self._registry)

    def in_flight(self, change: int) -> None:
        """One more, or one fewer, request is being answered."""
        self._in_flight.inc(change)

    def answered(self, surface: str | None, http_status: int | None, offset_us: int) -> None:
        """A request ended."""
        name = surface or "none"
        self._requests.labels(name, str(http_status)).inc()
        self._latency.labels(name).observe(offset_us / 1e6)

    def exposition(self, backlog: int) -> bytes:
        """All metrics in Prometheus's text format."""
        self._backlog.set(backlog)
        return generate_latest(self._registry)
