"""One small function a figure: what the tests, the benchmark pages and the scoreboard all call.

Each returns plain numbers. Times are wall clock; what is compared runs alternately in one process.
"""
