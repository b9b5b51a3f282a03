"""The commands of the artifact: ``python -m dndiv --help``."""

import sys

try:
    from dndiv.paper.commands import main
except ModuleNotFoundError as error:
    sys.exit(f"dndiv: {error}; the commands need more than the library: `make setup` in a checkout")
except KeyboardInterrupt:  # while this is loaded
    sys.exit(130)

if __name__ == "__main__":
    sys.exit(main())
