"""``python -m ocppsync``: the same as the command ``ocppsync``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
