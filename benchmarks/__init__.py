"""Benchmarks: every figure that rankless claims, measured beside its peers.

Three rooms:

- `measures`: one function a figure, shared by the tests, the benchmark pages and the scoreboard;
- a file a page (`completion`, `planted`, `kernel`, `matrix`, `startup` ...): runs its cells, writes ``docs/benchmarks/NAME.csv``
  as they finish and ``docs/benchmarks/NAME.md`` at the end (`peers` has the other half of the completion page);
- `scoreboard`: reads the pages' cells and says of each figure whether its bound holds.

A finished cell is kept and not measured again, until the code it measured changes: see `store`.
"""
