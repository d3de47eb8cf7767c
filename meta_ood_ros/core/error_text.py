"""Errors of libraries -> what of them goes into a sentence of ours."""


def first_line(error: Exception) -> str:
    """
    Return the first line of an error, without the full stop; its type where it says nothing.

    Parameters
    ----------
    error : Exception
        Of another library, often many lines long.

    Returns
    -------
    str

    """
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip('. ')
