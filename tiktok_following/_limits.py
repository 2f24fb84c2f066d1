"""How much at once, how soon, and how often again: the numbers behind the throttle.

The law: time comes in as `now`, seconds of any clock that never goes back, and nothing here waits.
"""

import sys
from collections.abc import Callable

import attrs

from ._errors import APIError
from ._events import Event, LimitChanged, Paused

Tell = Callable[[Event], None]

START = 20
"""Requests in flight to begin with, and the most after a pause before growing further."""
COOLDOWN = 2.0
"""Seconds after a cut without growth."""
PROBE_INTERVAL = 3.0
"""Seconds between two steps beyond what is known to work."""
PATIENCE = 12.0
"""How many times what the last recovery took passes before the first such step after it."""
FIRST_CUT = 0.8
"""What is left of the limit after a refusal at a level not known before."""
PROBE_CUT = 0.95
"""What is left of it after a refusal that a probe met."""
SLOW_PROBE = 5.0
"""Seconds after which, coming back from a pause, one more may go though none was answered."""
NEWS = 1.0
"""Seconds: a pause is told again when it ends so much later; all in flight may lengthen it."""
CLEARLY_ABOVE = 1.05
"""How far beyond the refused level the ceiling must have moved to be searched for again."""
OVERSHOOT = 0.5
"""What is left, at least, of a level of which many were refused at once: doubling goes no further
above what worked, and more than that is an outage and says nothing of a level."""


@attrs.frozen(kw_only=True)
class ThrottleState:
    """How the throttle stands: a snapshot."""

    limit: int
    """Pages that may be in flight now, as found by growing and being refused."""
    in_flight: int
    """Pages asked for and not answered yet."""
    waiting: int
    """Pages queued for a slot, the end of a pause, or credits."""
    paused_for: float
    """Seconds until the shared pause ends, 0 without one."""


def _ignore(_: Event) -> None:
    pass


class Pause:
    """Until when nothing may be sent. It only ever moves later.

    Args:
        tell: Hears when one begins, and when its end has moved by `NEWS`.
    """

    def __init__(self, tell: Tell = _ignore) -> None:
        self._tell = tell
        self._told = float("-inf")
        """The end that was told last."""
        self.until = float("-inf")
        self.seconds = 0.0
        self.reason: APIError | None = None
        self.streak = 0

    def begin(self, now: float, seconds: float, reason: APIError, jitter: float = 0.0) -> None:
        """Record that the server asked to wait.

        Args:
            now: The time of the answer.
            seconds: How long it asked for.
            reason: Its answer.
            jitter: Seconds to add, so that many clients do not come back together.
        """
        if now >= self.until:
            self.streak += 1
            self._told = float("-inf")
        if now + seconds + jitter > self.until:
            self.until = now + seconds + jitter
            self.seconds = seconds
            self.reason = reason
            if self.until >= self._told + NEWS:
                self._told = self.until
                self._tell(Paused(seconds=seconds + jitter, error=reason))

    def remaining(self, now: float) -> float:
        """Seconds left, 0 when there is no pause."""
        return max(0.0, self.until - now)


class RetryQuota:
    """How many retries all calls of a client may have on credit: a bucket that successes refill."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.tokens = size

    def take(self) -> bool:
        """Take a token for one retry; `False` means there is none."""
        if self.tokens == 0:
            return False
        self.tokens -= 1
        return True

    def give_back(self) -> None:
        """Return a token for one success."""
        if self.tokens < self.size:
            self.tokens += 1


class AdaptiveLimit:
    """How many requests may be in flight: found by growing until refused, then kept just under.

    It doubles per clean round until the first refusal. The refused level is remembered: the limit
    stays just under it, steps over it now and then, and doubles again once the ceiling has clearly
    moved. After a pause one request goes first; its answer lets `START` go, and each more one more.

    Args:
        maximum: The most in flight, ever.
        tell: Hears when it is another.
    """

    def __init__(self, maximum: int, tell: Tell = _ignore) -> None:
        self.maximum = maximum
        self._tell = tell
        self.limit = self._told = min(START, maximum)
        self._level: int | None = None
        """The number in flight that was last refused; `None` while looking for it."""
        self._least = 1
        """How low the refusals that came together may put it."""
        self._cut = FIRST_CUT
        """What was left of the limit at the last cut."""
        self._ramp: int | None = None
        """The most in flight while coming back from a pause; `None` when back."""
        self._since = float("-inf")
        """When the limit was last cut: answers to what was sent before say nothing of it."""
        self._grown_at = float("-inf")
        self._lost = 0.0
        """Seconds it took to come back from the last cut."""
        self._was_clean = False
        """Whether a round came through since the last cut."""
        self._left = self.limit
        self._was_used = False

    @property
    def allowed(self) -> int:
        """How many may be in flight now."""
        return self.limit if self._ramp is None else min(self._ramp, self.limit)

    @property
    def is_ramping(self) -> bool:
        """Whether it comes back from a pause."""
        return self._ramp is not None

    def admit(self, in_flight: int) -> None:
        """Note that a request starts, as one of `in_flight`."""
        if in_flight >= self.limit:
            self._was_used = True

    def lose_patience(self) -> None:
        """Let one more go after a pause, though those before it were not answered for long."""
        if self._ramp is not None and self._ramp < START:
            self._ramp += 1

    def answer(self, now: float, sent_at: float, *, is_good: bool = True) -> None:
        """Note an answer, other than a refusal, to a request sent at `sent_at`.

        Any of them shows that the server answers; only good ones let the limit grow.
        """
        if sent_at < self._since:
            return
        if self._ramp is not None:
            self._come_back(now, self._ramp)
            return
        if not is_good:
            return
        self._left -= 1
        if self._left <= 0:
            self._was_clean = True
            if self._was_used and now >= self._since + COOLDOWN:
                self._grow(now)
            self._begin_round()

    def refuse(self, now: float, sent_at: float, in_flight: int) -> None:
        """Note a refusal: cut the limit, once for all that was sent before the cut.

        Each of them says that one less was too many: when many were sent before the first was
        heard, this tells the level, and not what was in flight.
        """
        if sent_at < self._since:
            if self._ramp == 1 and self._level is not None and self._level > self._least:
                self._set_level(self._level - 1)
            return
        if self._ramp != 1 and in_flight > 1:  # one alone says nothing of how many are too many
            is_known = self._level is not None and self._was_clean
            self._cut = PROBE_CUT if is_known else FIRST_CUT
            level = min(self.limit, in_flight)
            self._least = max(1, int(level * OVERSHOOT))
            self._set_level(level)
        else:
            self._least = self.maximum
        self._since = now
        self._ramp = 1
        self._was_clean = False
        self._begin_round()

    def _set_level(self, level: int) -> None:
        self._level = level
        self.limit = max(1, int(level * self._cut))  # told when the first answer has come

    def _come_back(self, now: float, ramp: int) -> None:
        if ramp == 1:
            self._tell_change()
        self._ramp = ramp + 1 if ramp > 1 else START
        if self._ramp >= self.limit:
            self._ramp = None
            self._lost = now - self._since
            self._begin_round()

    def _grow(self, now: float) -> None:
        level = self._level
        if level is not None and self.limit > max(level * CLEARLY_ABOVE, level + 2):
            level = self._level = None
        if level is None:
            grown = self.limit * 2
        elif self.limit < int(level * PROBE_CUT):
            grown = int(level * PROBE_CUT)
        elif now >= max(
            self._grown_at + PROBE_INTERVAL,
            self._since + max(PROBE_INTERVAL, PATIENCE * self._lost),
        ):
            grown = self.limit + max(1, round(level / 40))
        else:
            return
        self._grown_at = now
        self.limit = min(grown, self.maximum)
        self._tell_change()

    def _tell_change(self) -> None:
        before, self._told = self._told, self.limit
        if self.limit != before:
            self._tell(LimitChanged(limit=self.limit, before=before))

    def _begin_round(self) -> None:
        self._left = self.limit
        self._was_used = False


class NoLimit(AdaptiveLimit):
    """The limit of the free routes: none."""

    def __init__(self) -> None:
        super().__init__(START)

    @property
    def allowed(self) -> int:
        """As many as there are."""
        return sys.maxsize
