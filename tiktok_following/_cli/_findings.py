"""What a look at something found: how it is, and what to do about it."""

from typing import Literal

import attrs

from ._exit import DONE, FAILED, choose_exit_code, explain

Verdict = Literal["ok", "warning", "problem"]
_INDENT = 9
_WIDTH = 13


@attrs.frozen
class Finding:
    """One line of a doctor's report."""

    verdict: Verdict
    subject: str
    """What was looked at."""
    text: str
    advice: str | None = None
    """What to do about it; `None` where nothing is to be done."""
    code: int = DONE
    """The exit code, of a problem."""

    def describe(self) -> str:
        """Write it for people."""
        line = f"{self.verdict:<{_INDENT}}{self.subject + ':':<{_WIDTH}}{self.text}"
        return line if self.advice is None else f"{line}\n{'':<{_INDENT}}→ {self.advice}"


def approve(subject: str, text: str) -> Finding:
    """Find something as it should be."""
    return Finding("ok", subject, text)


def warn(subject: str, text: str, advice: str) -> Finding:
    """Find something that works and could be better, or soon will not."""
    return Finding("warning", subject, text, advice)


def object_to(subject: str, text: str, advice: str, *, code: int = FAILED) -> Finding:
    """Find something that does not work."""
    return Finding("problem", subject, text, advice, code)


def object_for(subject: str, error: Exception, advice: str) -> Finding:
    """Find that something failed."""
    return object_to(subject, explain(error), advice, code=choose_exit_code(error))
