"""Benchmarks: every figure that rankless claims, measured beside its peers.

Rooms:

- `measures`: one function a figure, shared by the tests, the benchmark pages and the scoreboard;
- a file a page (`completion`, `planted`, `speed` ...): runs its cells, writes ``docs/benchmarks/NAME.csv`` as they finish and
  ``docs/benchmarks/NAME.md`` at the end (`peers` measures the other half of the completion page, `entries` reads it);
- `experts`: what each expert buys; `guard`: today's code beside a baseline, seed by seed, and whether a change may land;
- `scoreboard`: reads the pages' cells and says of each figure whether its bound holds.

A finished cell is kept and not measured again, until the code it measured changes: see `campaign.store`.
"""
