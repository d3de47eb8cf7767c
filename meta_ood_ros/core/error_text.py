"""Errors of libraries -> what of them goes into a sentence of ours."""


def first_line(error: Exception) -> str:
    """Return the first line of an error, without the full stop; its type where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip('. ')
