"""`python -m luminaguard` is `luminaguard`."""

import sys

from luminaguard.ui.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
