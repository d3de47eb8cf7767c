"""From numbers to a report: `report` writes it of `tables`, `sections` and `figures`."""
