"""What the service is like from outside: its objectives, its traffic, its streams."""

from grafana.panels import Panel, Row
from grafana.queries import CHOSEN, EACH, NAME, Query, level, metric, objective, quantiles, rate, share

CANARY_LOST = rate("canary_failures_total", EACH)

SERVICE = Row(
    "Service level",
    [
        Panel(
            "Nodes ready",
            "How many nodes (or workers) take new streams, and how many there are.",
            "none",
            [Query(f"sum({metric('ready')})", "ready"), Query(f"count({metric('ready')})", "known")],
            big=True,
            width=6,
        ),
        Panel(
            "Connects that succeed",
            "Within the last hour, of those whose fate is ours: not bad tokens. The objective is 99.9 %.",
            "percentunit",
            [Query(f"1 - {objective('connect_errors', '1h')}", "succeed")],
            alert_at=0.999,
            worse="below",
            big=True,
            width=6,
            empty="no connects",
        ),
        Panel(
            "Messages within 250 ms",
            "Within the last hour, from accepted to the last write. The objective is 99 %.",
            "percentunit",
            [Query(f"1 - {objective('delivery_slow', '1h')}", "in time")],
            alert_at=0.99,
            worse="below",
            big=True,
            width=6,
            empty="no messages",
        ),
        Panel(
            "Versions",
            "Which versions run, and on how many nodes or workers.",
            "none",
            [Query(f"count by (version) ({metric('build_info')})", "{{version}}")],
            big=True,
            width=6,
        ),
        Panel(
            "Pace at which budgets are spent",
            "1 spends the budget of 30 days in just 30 days; 14.4 for an hour pages.",
            "none",
            [
                Query(f"{objective('connect_errors', '5m')} / 0.001", "connects, 5 min"),
                Query(f"{objective('connect_errors', '1h')} / 0.001", "connects, 1 h"),
                Query(f"{objective('delivery_slow', '5m')} / 0.01", "deliveries, 5 min"),
                Query(f"{objective('delivery_slow', '1h')} / 0.01", "deliveries, 1 h"),
            ],
            alert_at=14.4,
        ),
        Panel(
            "Connects turned away",
            "By reason. Ours to answer for are broker and limit.",
            "cps",
            [Query(rate("connects_rejected_total", "reason"), "{{reason}}")],
            stacked=True,
        ),
        Panel(
            "Requests not let in",
            "By what was wrong with their credentials. An alert compares them with streams opened.",
            "cps",
            [Query(rate("auth_failures_total", "reason"), "{{reason}}")],
            stacked=True,
        ),
        Panel(
            "Canary",
            "How long a message takes that a node sends itself, through its own public listener, by --canary.",
            "s",
            quantiles("canary_seconds"),
            width=12,
            empty="there is no canary",
        ),
        Panel(
            "Canary's messages that do not come",
            "Within 5 s, of all that it sent.",
            "percentunit",
            [Query(share(CANARY_LOST, f"({CANARY_LOST} + {rate('canary_seconds_count', EACH)})"), NAME)],
            alert_at=0.5,
            width=12,
            empty="there is no canary",
        ),
    ],
)

TRAFFIC = Row(
    "Traffic",
    [
        Panel(
            "Messages published",
            "By what became of them; unavailable was answered 503.",
            "cps",
            [Query(rate("messages_published_total", "result"), "{{result}}")],
            stacked=True,
        ),
        Panel(
            "Deliveries",
            "Messages handed to the kernel, once a stream.",
            "cps",
            [Query(rate("messages_delivered_total"), "{{instance}}")],
            stacked=True,
        ),
        Panel(
            "Bytes sent",
            "On event streams: messages, keepalives and what begins a stream.",
            "Bps",
            [Query(rate("bytes_sent_total"), "{{instance}}")],
            stacked=True,
        ),
        Panel(
            "Delivery time",
            "From a message accepted to its last write. The objective is 99 % within 250 ms.",
            "s",
            quantiles("delivery_seconds"),
            alert_at=0.25,
        ),
        Panel(
            "Fan-out time",
            "From the first to the last write of one fan-out: grows with the streams that a message goes to.",
            "s",
            quantiles("fanout_seconds"),
        ),
        Panel(
            "Connect time",
            "From a connect request to the stream's first bytes, replay included.",
            "s",
            quantiles("connect_seconds"),
        ),
    ],
)

STREAMS = Row(
    "Streams",
    [
        Panel(
            "Open streams",
            "By instance: uneven bars are an uneven load balancer.",
            "none",
            [Query(level("open_streams"), "{{instance}}")],
            stacked=True,
        ),
        Panel(
            "Users and sessions",
            "Who has a stream open. A user may have several sessions, a session several streams.",
            "none",
            [
                Query(f"sum({metric('connected_users')})", "users"),
                Query(f"sum({metric('open_sessions')})", "sessions"),
            ],
        ),
        Panel(
            "Share of what a node takes",
            "Open streams of --max-streams. At 1 new ones are sent away.",
            "percentunit",
            [Query(share(level("open_streams"), level("max_streams")), "{{instance}}")],
            alert_at=0.9,
            empty="no cap is set",
        ),
        Panel(
            "Opened and closed",
            "A gap between the two is growth, or loss; both high is a storm of reconnects.",
            "cps",
            [
                Query(f"sum(rate({metric('streams_opened_total')}[$__rate_interval]))", "opened"),
                Query(f"sum(rate({metric('streams_closed_total')}[$__rate_interval]))", "closed"),
            ],
        ),
        Panel(
            "Why streams end",
            "By reason; client_gone is the everyday one.",
            "cps",
            [Query(rate("streams_closed_total", "reason"), "{{reason}}")],
            stacked=True,
        ),
        Panel(
            "How long streams last",
            "Of those that ended. Many at one length point to a proxy's timeout.",
            "s",
            quantiles("stream_duration_seconds"),
            empty="none ended",
        ),
    ],
)

RESTARTS = f"changes(process_start_time_seconds{{{CHOSEN}}}[1m]) > 0"
"""What is marked on the dashboard."""
