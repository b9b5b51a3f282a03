"""The commands of the artifact: ``python -m dndiv --help``."""

import sys

from dndiv.paper.commands import main

if __name__ == "__main__":
    sys.exit(main())
