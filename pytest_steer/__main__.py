"""``python -m pytest_steer``: the command ``pytest-steer``."""

import sys

from .cli.main import main

if __name__ == "__main__":
    sys.exit(main())
