"""``python -m zerodl_c`` is the command ``zerodl-c``."""

import sys

from zerodl_c.cli import main

if __name__ == "__main__":
    sys.exit(main())
