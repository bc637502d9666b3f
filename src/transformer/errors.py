"""The one exception that is written for people.

Raise it where bad input enters, with a message that says what was wrong, the value
that was seen, and what to do. Commands print the message and exit with status 2;
everything else that escapes is a bug and keeps its traceback.
"""


class UserError(ValueError):
    """A mistake in what the user gave us (a flag, a file, a configuration)."""
