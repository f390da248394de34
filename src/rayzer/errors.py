"""The one error type for mistakes that a user can mend."""


class InputError(ValueError):
    """Something the user gave cannot be used; the message names it and says what to do.

    The command line prints the message as one plain line and exits with code 2.
    """
