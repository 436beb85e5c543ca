"""``python -m dashboard`` is the ``stowage`` command."""

from dashboard.app import main

main()
