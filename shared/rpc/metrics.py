"""Prometheus metrics of calls, and the endpoint that shows them."""

from functools import cache

from prometheus_client import Counter, Gauge, Histogram, start_http_server
from prometheus_client.registry import REGISTRY

_calls = Counter("guerdon_rpc_calls_total", "Calls answered.", ["service", "method", "code"])
_seconds = Histogram(
    "guerdon_rpc_seconds",
    "Time from a call's arrival to its answer, in seconds.",
    ["service", "method"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
_in_work = Gauge("guerdon_rpc_in_work", "Calls in work.", ["service"])


def answered(service: str, method: str, code: str, seconds: float) -> None:
    """Count a call."""
    _count(service, method, code).inc()
    _timer(service, method).observe(seconds)


def in_work(service: str, number: int) -> None:
    """Tell how many calls are in work."""
    _gauge(service).set(number)


def serve(port: int, host: str) -> None:
    """Show all metrics of this process at http://host:port/metrics."""
    start_http_server(port, addr=host, registry=REGISTRY)


# The children are kept: finding one by its labels costs more than counting.
@cache
def _count(service: str, method: str, code: str) -> Counter:
    return _calls.labels(service, method, code)


@cache
def _timer(service: str, method: str) -> Histogram:
    return _seconds.labels(service, method)


@cache
def _gauge(service: str) -> Gauge:
    return _in_work.labels(service)
