"""``python -m benchmarks [PAGE ...] [--fresh | --vouch]``: measure what is not measured yet, write the pages.

Without a page: the quick ones and the completion page, ours (`completion`) and the peers' cells (`peers`), which take
hours where nothing is on file; a finished cell is not run again.
"""

from __future__ import annotations

import argparse
import importlib

QUICK = ("startup", "kernel", "matrix")
COMPLETION = ("completion", "peers")  # both write the one page
LONG = ("dynamics", "reproduce", *COMPLETION, "blend", "planted", "race", "any_rank", "growth", "ratings", "losses", "scale", "bare")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("pages", nargs="*", metavar="PAGE", help=f"quick: {', '.join(QUICK)}; long: {', '.join(LONG)}; all")
    parser.add_argument("--fresh", action="store_true", help="measure finished cells again")
    parser.add_argument(
        "--vouch", action="store_true", help="accept cells of older code (completion, planted) where a sample comes out the same"
    )
    options = parser.parse_args()
    pages = [*QUICK, *LONG] if options.pages == ["all"] else options.pages or [*QUICK, *COMPLETION]
    unknown = [name for name in pages if name not in QUICK + LONG]
    if unknown:
        parser.error(f"no page {unknown[0]!r}; there are {', '.join(QUICK + LONG)} and all")
    for name in pages:
        page = importlib.import_module(f"benchmarks.{name}")
        if options.vouch and hasattr(page, "vouch"):
            page.vouch()
        else:
            page.run(fresh=options.fresh)


if __name__ == "__main__":
    main()
