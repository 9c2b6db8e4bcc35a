"""Words that plugins declare, runs record and boards print: each list stands here and nowhere else.

Everything may import this, and it imports nothing: contracts and leaderboard know nothing else in common.
"""

from __future__ import annotations

from typing import Literal, get_args

#: What a method uses of people's maps: nothing, through one CAM, through two; or a control of another method.
Kind = Literal["unguided", "one-cam", "two-cam", "control"]
KINDS: tuple[Kind, ...] = get_args(Kind)

#: Outputs of a binary classifier: one for each class, or one for their margin.
Head = Literal["two-logit", "one-logit"]
HEADS: tuple[Head, ...] = get_args(Head)

#: Whether a source's owner lets something be published.
Permission = Literal["yes", "no", "unknown"]
#: Of two permissions for one thing the earlier counts.
STRICTEST_FIRST: tuple[Permission, ...] = ("no", "unknown", "yes")
