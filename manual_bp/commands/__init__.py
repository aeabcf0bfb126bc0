"""What the command line does; the one place that names both the hand-written side and its judge."""


class CommandError(Exception):
    """Ends a command with this text and exit code 2."""
