"""A server for long-lived browser event streams (Server-Sent Events), on Tornado."""

__version__ = "0.1.0"
