"""How an image of a data set is meant on the command line: by its name, or by how that begins."""


def is_named(name: str, wanted: str) -> bool:
    """Return whether an image is meant by a name."""
    return wanted in (name, name.split('/', 1)[-1])


def begins_so(name: str, word: str) -> bool:
    """Return whether an image is of the part that a word means."""
    return name.rsplit('/', 1)[-1].startswith(word)
