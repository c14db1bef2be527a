"""The one exception for a mistake that the user can mend."""

from __future__ import annotations


class UserError(Exception):
    """A user's mistake: `sentence` names what is wrong and where, `hint` what to type next.

    The command line prints both and exits with 2; nothing that raises it may have left work half done.
    """

    def __init__(self, sentence: str, hint: str | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.sentence}\n{self.hint}" if self.hint else self.sentence
