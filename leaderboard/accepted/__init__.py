"""The accepted results: read, rescored, published, changed."""
