"""From numbers to a report: `report` fills `templates` with `phrases`; `figures` beside."""
