"""The figures of deep factorization, each from one command, with a table of claim, expected and measured.

One file a figure: constants on top, ``run(quick, progress)`` returns an `Outcome` (the numbers and the
claims tested on them), ``draw(tables)`` makes the picture from the numbers alone. `reproduce` joins them:

>>> from rankless.figures import NAMES
>>> "law" in NAMES, len(NAMES)
(True, 17)

Settings are ours, and stated in each row; where a paper's own are not public, the row tests its claim
and does not redraw its figure.
"""

from rankless.figures.runner import NAMES, reproduce

__all__ = ["NAMES", "reproduce"]
