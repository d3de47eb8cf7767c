"""The text of /proc/<pid>/status -> resident memory of the process."""

NAMES = ('VmHWM', 'VmRSS', 'RssAnon', 'RssFile', 'RssShmem')


def read_memory(status: str) -> dict[str, float]:
    """
    Return the entries of /proc/<pid>/status about resident memory.

    Returns
    -------
    dict of str to float
        VmHWM (the peak of VmRSS), VmRSS and its parts RssAnon, RssFile and RssShmem, in MB
        (10^6 bytes).

    """
    lines = dict(line.split(':', 1) for line in status.splitlines() if ':' in line)
    return {name: int(lines[name].split()[0]) * 1024 / 1e6 for name in NAMES}
