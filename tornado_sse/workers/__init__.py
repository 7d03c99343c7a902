"""Several processes on one port, below one that starts them, watches them, and speaks for them."""
