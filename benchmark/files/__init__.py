"""Files of anybody: read within bounds, written whole, owned by a process, escaped for what reads them next."""
