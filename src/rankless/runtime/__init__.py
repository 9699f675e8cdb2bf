"""How a fit runs: journal, progress, threads, memory, files."""
