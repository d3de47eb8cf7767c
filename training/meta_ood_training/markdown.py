"""Numbers and a template of a wing -> Markdown."""

from collections.abc import Callable
import math
import re
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def render(
    wing: str, name: str, filters: dict[str, Callable[..., str]] | None = None, **values: Any
) -> str:
    """Return a template of a wing's folder `templates`, filled; at most one line stays empty."""
    environment = Environment(
        loader=PackageLoader(wing),
        undefined=StrictUndefined,
        finalize=show_cell,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )
    environment.filters.update(filters or {})
    text = environment.get_template(name).render(values)
    return re.sub(r'\n{3,}', '\n\n', text).strip() + '\n'


def show_cell(cell: Any) -> Any:
    """Shorten a float; NaN and None become a dash."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return '-'
    if isinstance(cell, float):
        return f'{cell:.4f}' if abs(cell) < 10 else f'{cell:.1f}'
    return cell
