"""The mistakes a user can make, told in one line."""


class UserError(ValueError):
    """A mistake of the user's: the message names the thing, its value and what would be right.

    Command lines print it as one line and end with exit status 2; in a program it is an ordinary ``ValueError``.
    """
