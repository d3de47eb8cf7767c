"""
What a figure consists of, which there are, and how they are written down.

1. `comparison`  two things done in turns -> how much faster one is, with its spread
2. `registry`    the figures of `python -m benchmarks`, one module each
3. `report`      figures -> a table on the screen, JSON and a picture
4. `tables`      JSON -> the tables in docs/performance.md
"""
