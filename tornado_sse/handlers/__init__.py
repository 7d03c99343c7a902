"""Request handlers: from HTTP to the server's own words and back. One file for each resource."""
