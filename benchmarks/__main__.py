"""``python -m benchmarks [PAGE ...] [--fresh | --vouch]``: measure what is not measured yet, write the pages.

Without a page: the quick one and the completion page, ours (`completion`) and the peers' cells (`peers`), which take
hours where nothing is on file; a finished cell is not run again. ``all`` is everything but what is measured at releases only.

``guard``, ``experts``, ``ordered``, ``cases`` and ``later`` take options of their own: ``python -m benchmarks guard --help``.
"""

from __future__ import annotations

import argparse
import importlib
import sys

QUICK = ("speed",)
COMPLETION = ("completion", "peers")  # both write the one page
LONG = (*COMPLETION, "experts", "ordered", "later", "planted", "race", "any_rank", "growth", "ratings", "losses", "scale")
RELEASE = ("dynamics", "reproduce", "mutations", "bare")  # what changes seldom, or takes a machine for itself
PAGES = (*QUICK, *LONG, *RELEASE)
COMMANDS = ("guard", "experts", "ordered", "cases", "later")  # with options of their own


def main() -> None:
    if len(sys.argv) > 1 and sys.argv[1] in COMMANDS:
        importlib.import_module(f"benchmarks.{sys.argv[1]}").main(sys.argv[2:])
        return
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    groups = f"quick: {', '.join(QUICK)}; long: {', '.join(LONG)}; at releases: {', '.join(RELEASE)}; all"
    parser.add_argument("pages", nargs="*", metavar="PAGE", help=groups)
    parser.add_argument("--fresh", action="store_true", help="measure finished cells again")
    parser.add_argument(
        "--vouch", action="store_true", help="accept cells of older code (completion, planted) where a sample comes out the same"
    )
    options = parser.parse_args()
    pages = [*QUICK, *LONG] if options.pages == ["all"] else options.pages or [*QUICK, *COMPLETION]
    unknown = [name for name in pages if name not in PAGES]
    if unknown:
        parser.error(f"no page {unknown[0]!r}; there are {', '.join(PAGES)} and all")
    for name in pages:
        page = importlib.import_module(f"benchmarks.{name}")
        if options.vouch and hasattr(page, "vouch"):
            page.vouch()
        else:
            page.run(fresh=options.fresh)


if __name__ == "__main__":
    main()
