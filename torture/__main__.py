"""``python -m torture [CAMPAIGN ...] [--fresh]``: run what has not been run with today's code, and write docs/reliability.md.

Without a campaign: all of them. Exit code 1 where anything on file was lost or crashed.
"""

from __future__ import annotations

import argparse
import sys

from torture import CAMPAIGNS, page


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m torture", description=__doc__)
    parser.add_argument("campaigns", nargs="*", metavar="CAMPAIGN", help=f"all by default: {', '.join(CAMPAIGNS)}")
    parser.add_argument("--fresh", action="store_true", help="run finished cells again")
    options = parser.parse_args()
    unknown = [name for name in options.campaigns if name not in CAMPAIGNS]
    if unknown:
        parser.error(f"no campaign {unknown[0]!r}; there are {', '.join(CAMPAIGNS)}")
    for name in options.campaigns or CAMPAIGNS:
        page.campaign(name).run(fresh=options.fresh)
        page.write()  # what is finished is on the page even if the next campaign is cut short
    failed = page.failures()
    print("\n".join(failed) or "nothing was lost, nothing crashed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
