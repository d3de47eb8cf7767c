"""Errors and foreign words -> what of them goes into a sentence of ours."""

# A camera may send any text, of any length, in place of a name.
_LONGEST = 80


def first_line(error: Exception) -> str:
    """Return the first line of an error, without the full stop; its type where it says nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip('. ')


def shown(path: object) -> str:
    """Return a file's name as text that can be printed and sent, whatever bytes it is made of."""
    return str(path).encode('utf-8', 'backslashreplace').decode()


def quoted(text: str) -> str:
    """Return foreign text in quotes, its beginning where it is long."""
    return repr(shown(text[:_LONGEST])) + ('...' if len(text) > _LONGEST else '')
