"""Prometheus metrics of calls, and the endpoint that shows them."""

from collections.abc import Callable

from prometheus_client import Counter, Gauge, Histogram, start_http_server
from prometheus_client.registry import REGISTRY

_calls = Counter("guerdon_rpc_calls_total", "Calls answered.", ["service", "method", "code"])
_seconds = Histogram(
    "guerdon_rpc_seconds",
    "Time from a call's arrival to its answer, in seconds.",
    ["service", "method"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
_in_work = Gauge("guerdon_rpc_in_work", "Calls in work.", ["service", "kind"])


def method(service: str, name: str) -> Callable[[str, float], None]:
    """What counts the calls of one method: call it with the code and the seconds of each."""
    # The children are kept: finding one by its labels costs more than counting.
    observe = _seconds.labels(service, name).observe
    counts: dict[str, Callable[[], None]] = {}

    def answered(code: str, seconds: float) -> None:
        count = counts.get(code)
        if count is None:
            count = counts[code] = _calls.labels(service, name, code).inc
        count()
        observe(seconds)

    return answered


def watch(service: str, calls: Callable[[], int], streams: Callable[[], int]) -> None:
    """Show how many calls that answer once, and how many streams, are in work when asked."""
    _in_work.labels(service, "call").set_function(calls)
    _in_work.labels(service, "stream").set_function(streams)


def serve(port: int, host: str) -> Callable[[], None]:
    """Show all metrics of this process at http://host:port/metrics; gives what ends that."""
    server, thread = start_http_server(port, addr=host, registry=REGISTRY)

    def end() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return end
