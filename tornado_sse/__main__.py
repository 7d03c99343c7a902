"""`python -m tornado_sse` is `tornado-sse`."""

from tornado_sse.cli import main

main(prog_name="tornado-sse")
