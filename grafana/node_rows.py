"""What goes on inside: back-pressure, resume, the broker, the process."""

from grafana.panels import Panel, Row
from grafana.queries import CHOSEN, EACH, NAME, Query, level, metric, quantiles, rate, share

PRESSURE = Row(
    "Back-pressure",
    [
        Panel(
            "Bytes waiting",
            "For slow clients, over all their streams.",
            "bytes",
            [Query(level("outbox_bytes"), "{{instance}}")],
            stacked=True,
            width=6,
        ),
        Panel(
            "Share of the budget",
            "Waiting bytes of --outbox-budget. At 1 publishing is refused.",
            "percentunit",
            [Query(f"max by (instance) ({metric('outbox_bytes')} / {metric('outbox_budget_bytes')})", "{{instance}}")],
            alert_at=0.8,
            width=6,
        ),
        Panel(
            "Streams that wait",
            "How many have anything waiting.",
            "none",
            [Query(level("backlogged_streams"), "{{instance}}")],
            width=6,
        ),
        Panel(
            "What became of slow streams",
            "Streams closed as slow, and messages dropped, by reason. An alert looks at the share of streams closed.",
            "cps",
            [
                Query(rate("streams_closed_total", "reason", 'reason="slow"'), "closed as {{reason}}"),
                Query(rate("messages_dropped_total", "reason"), "messages: {{reason}}"),
            ],
            width=6,
        ),
    ],
)

RESUME = Row(
    "Resume and gaps",
    [
        Panel(
            "Clients that came back",
            "recovered got all that they missed; gap were told of a hole.",
            "cps",
            [Query(rate("resumes_total", "result"), "{{result}}")],
            stacked=True,
        ),
        Panel(
            "Holes told of",
            "By reason. epoch is history lost as a whole; unknown is a position that is none of ours.",
            "cps",
            [Query(rate("gaps_total", "reason"), "{{reason}}")],
            stacked=True,
        ),
        Panel(
            "Share of resumes with a hole",
            "Of all clients that came back.",
            "percentunit",
            [Query(share(rate("resumes_total", "job", 'result="gap"'), rate("resumes_total", "job")), "with a hole")],
            empty="nobody came back",
        ),
    ],
)

BROKER = Row(
    "Broker",
    [
        Panel(
            "Within reach",
            "1: a message published now would go. 0: new streams and messages are refused.",
            "none",
            [Query(f"min by (instance) ({metric('broker_up')})", "{{instance}}")],
            alert_at=1,
            worse="below",
            width=6,
        ),
        Panel(
            "Connections made anew",
            "Each is an outage that is over.",
            "none",
            [
                Query(
                    f"sum by (instance) (increase({metric('broker_reconnects_total')}[$__rate_interval]))",
                    "{{instance}}",
                )
            ],
            width=6,
        ),
        Panel(
            "Behind",
            "Messages that a node is known not to have read yet.",
            "none",
            [Query(f"max by (instance) ({metric('broker_lag')})", "{{instance}}")],
            alert_at=1000,
            width=6,
        ),
        Panel(
            "Refused or unreadable",
            "Messages answered 503, and messages that came straight to the broker and can't be read.",
            "cps",
            [
                Query(rate("messages_published_total", "job", 'result="unavailable"'), "refused"),
                Query(rate("messages_malformed_total", "job"), "unreadable"),
            ],
            width=6,
        ),
    ],
)

PROCESS = Row(
    "Process and loop",
    [
        Panel(
            "Processor",
            "Cores in use. A process uses one at most.",
            "percentunit",
            [Query(f"rate(process_cpu_seconds_total{{{CHOSEN}}}[$__rate_interval])", NAME)],
        ),
        Panel(
            "Time the loop is late",
            "Share of time that the event loop's timers ran late.",
            "percentunit",
            [Query(rate("loop_lag_seconds_sum", EACH), NAME)],
            alert_at=0.2,
        ),
        Panel(
            "Lag of the loop",
            "How late single timers ran.",
            "s",
            quantiles("loop_lag_seconds"),
        ),
        Panel(
            "Memory",
            "Resident.",
            "bytes",
            [Query(f"process_resident_memory_bytes{{{CHOSEN}}}", NAME)],
        ),
        Panel(
            "Share of descriptors",
            "Open ones of what is allowed. A stream wants one.",
            "percentunit",
            [Query(f"process_open_fds{{{CHOSEN}}} / process_max_fds{{{CHOSEN}}}", NAME)],
            alert_at=0.8,
        ),
        Panel(
            "Failures to accept",
            "Times that there was no descriptor for a connection.",
            "cps",
            [Query(rate("accept_failures_total", EACH), NAME)],
        ),
    ],
)
