"""
Measurements: every figure a ratio to a named baseline, taken in turns within one run.

    python -m benchmarks [--list] [--only NAME ...] [--rounds 9] [--results FOLDER]

`registry.py` lists the figures, one module each; `comparison.py` is what a figure consists of;
`report.py` writes them down. Baselines are written by us from the published definitions.
"""
