"""``python -m divsal_bench``."""

import sys

from divsal_bench.cli import main

if __name__ == "__main__":
    sys.exit(main())
