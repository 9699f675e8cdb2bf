"""``python -m rankless``."""

from rankless.cli import main

main()
