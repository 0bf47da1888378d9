"""What goes wrong, as sentences for the person who typed the command."""


class UserError(Exception):
    """A mistake the user can mend: one sentence that says what is wrong, where, and what to do.

    The command line prints the sentence alone and ends with exit status 2.
    """


class RunStopped(Exception):
    """A run that ended before its last step through no mistake of the command line: a signal, a NaN.

    The command line prints the sentence alone and ends with exit status 1 or, where a signal asked for the end, with
    128 and its number, as shells have it.
    """

    def __init__(self, sentence: str, signal: int | None = None) -> None:
        super().__init__(sentence)
        self.status = 1 if signal is None else 128 + signal


def require(fine: bool, sentence: str) -> None:
    """Raise `UserError` with this sentence unless `fine`."""
    if not fine:
        raise UserError(sentence)


def at_least(least: float, section: str, config: object, *names: str) -> None:
    """Raise `UserError` for a setting of this name in the section that is less."""
    for name in names:
        value = getattr(config, name)
        require(value >= least, f"{section}.{name}={value} must be {least} or more.")


def above_0(section: str, config: object, *names: str) -> None:
    """Raise `UserError` for a setting of this name in the section that is 0 or less."""
    for name in names:
        value = getattr(config, name)
        require(value > 0, f"{section}.{name}={value} must be above 0.")


def from_0_to_1(section: str, config: object, *names: str) -> None:
    """Raise `UserError` for a setting of this name in the section that is no share."""
    for name in names:
        value = getattr(config, name)
        require(0 <= value <= 1, f"{section}.{name}={value} must be from 0 to 1.")
