"""`tornado-sse bench`: a load generator for a deployment of one's own.

command -> runner -> crew (in this process, or in workers) -> streams
                  -> publisher
pure, no sockets: marker   tally   wire (HTTP)   plan   report
"""

from tornado_sse.cli.bench.command import bench

__all__ = ["bench"]
