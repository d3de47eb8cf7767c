"""
From numbers to a report.

`report` fills `templates` with `phrases` and `metric_names`; `figures` beside, `summary` in short.
"""
