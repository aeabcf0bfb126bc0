"""The training step in place against its peers: the same as `manual-bp bench`, in a clone without an installation."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from manual_bp.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["bench", *sys.argv[1:]]))
