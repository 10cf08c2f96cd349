"""The two expected kinds of error. Anything else is a bug of ours and keeps its traceback."""


class UserError(Exception):
    """The request was wrong: exit 2, nothing started. One sentence: where, what was given, what is allowed."""


class TrialError(Exception):
    """A trial failed: its row carries this sentence, the study goes on."""
