"""What an error holds on to: the frames it came through.

The law: an error that is kept, or comes from another library, tells what happened and holds nothing
else, neither memory nor secrets.
"""

from typing import TypeVar

AnyError = TypeVar("AnyError", bound=BaseException)


def drop_frames(error: AnyError) -> AnyError:
    """Let go of the frames that an error and its causes hold, and of all that is in them."""
    link: BaseException | None = error
    while link is not None:
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return error
