"""The one exception that says a user's data or setting is at fault."""


class DataError(ValueError):
    """One sentence for the user: what is wrong, where, and what is allowed."""
