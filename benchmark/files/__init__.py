"""Files of anybody: read within bounds, written whole, owned by a process, escaped for what reads them next.

Knows nothing but errors: what a file means is said by whoever opens it.
"""
