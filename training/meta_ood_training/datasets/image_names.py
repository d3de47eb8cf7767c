"""How an image of a data set is meant on the command line: by its name, or by how that begins."""


def is_named(name: str, wanted: str) -> bool:
    """
    Return whether an image is meant by a name.

    Parameters
    ----------
    name : str
        '<data set>/<name>', as in the column image of the tables.
    wanted : str
        The same, or without the data set.

    Returns
    -------
    bool

    """
    return wanted in (name, name.split('/', 1)[-1])


def begins_so(name: str, word: str) -> bool:
    """
    Return whether an image is of the part that a word means.

    Parameters
    ----------
    name : str
        As above; folders in it do not count.
    word : str
        First letters, such as those of a sequence.

    Returns
    -------
    bool

    """
    return name.rsplit('/', 1)[-1].startswith(word)
