"""`python -m ddgan` is the `ddgan` command."""

import sys

from ddgan.cli import main

if __name__ == "__main__":
    sys.exit(main())
