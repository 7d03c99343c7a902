"""PromQL for panels: what the selected job and instances say, summed over workers unless told otherwise.

`by` names the labels to keep, `where` narrows the series down, both as PromQL spells them.
"""

from typing import NamedTuple

CHOSEN = 'job="$job",instance=~"$instance"'
"""Labels of what is chosen at the top of the dashboard."""

EACH = "instance, worker"
"""Labels that tell processes apart."""

NAME = "{{instance}} {{worker}}"
"""How one of them is called."""


class Query(NamedTuple):
    """An expression, and how each of its series is called: Grafana puts labels in for `{{label}}`."""

    expr: str
    legend: str


def metric(name: str, where: str = "") -> str:
    """Select one of our metrics."""
    return f"tornado_sse_{name}{{{CHOSEN}{',' if where else ''}{where}}}"


def level(name: str, by: str = "instance") -> str:
    """Add a gauge up."""
    return f"sum by ({by}) ({metric(name)})"


def rate(name: str, by: str = "instance", where: str = "") -> str:
    """Tell how much a counter gains in a second."""
    return f"sum by ({by}) (rate({metric(name, where)}[$__rate_interval]))"


def share(part: str, whole: str) -> str:
    """Divide; nothing where the whole is zero."""
    return f"{part} / ({whole} > 0)"


def quantiles(histogram: str) -> tuple[Query, ...]:
    """Ask a histogram for its middle and its slow end."""
    buckets = rate(histogram + "_bucket", "le")
    return tuple(Query(f"histogram_quantile({q}, {buckets})", name) for q, name in ((0.5, "half"), (0.99, "99 %")))


def objective(name: str, window: str) -> str:
    """Take the share of failures, as the recording rules have it: of the whole job."""
    return f'job:tornado_sse_{name}:ratio_rate{window}{{job="$job"}}'
