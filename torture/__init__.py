"""Long campaigns that try to break rankless: faults injected, bad input by the thousand, fits killed, limits of the numbers.

A campaign is one module of this package and one entry below. It has

- ``store(**how)``: its finished cells, ``docs/reliability/NAME.csv`` (`record.store`);
- ``run(*, fresh=False)``: measures the cells that are not on file with today's code;
- ``section(cells)``, if it has more to show than the two common tables: Markdown with a heading of its own.

Cells made by `record.fault` join the table of faults, those made by `record.inputs` the table of bad input;
`page` writes ``docs/reliability.md`` from whatever is on file.
"""

CAMPAIGNS = ("bad_input", "coverage", "files", "fits", "guided", "inputs", "kills", "limits", "readers")
