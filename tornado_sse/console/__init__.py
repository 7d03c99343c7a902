"""The console: what it can ask of a server, or of several workers, and the node that its figures stream from."""
