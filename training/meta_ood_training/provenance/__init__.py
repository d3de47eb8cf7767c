"""
Where a result comes from.

`revision`        the source tree and the machine
`command_line`    the command, as others can type it
"""
