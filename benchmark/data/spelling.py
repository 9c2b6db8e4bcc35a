"""Names as people see them: what a name may hold, and which names look alike though their characters differ."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import combinations

#: Characters of a name. A record holds somewhat longer texts: the name of a condition can be one with a prefix.
LONGEST_NAME = 380
#: Nothing is seen of these, though Unicode counts them as letters, marks or signs.
_BLANK = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0"
#: The two joiners shape the letters of Persian and Indian words; elsewhere they are only invisible.
_JOINERS = "\u200c\u200d"
#: Choose between two forms of one sign.
_SELECTORS = re.compile("[\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef]")
#: Letters of words that can be misspelt; in shorter ones another letter is another name (site A, site B).
_SHORTEST_WORD = 5


def composed(name: str) -> str:
    """The same name with composed letters (Unicode's NFC): macOS writes é as e and an accent."""
    return unicodedata.normalize("NFC", name)


def problem(name: str) -> str:
    """Why a data set cannot hold a name, and what to do; "" if it can."""
    if len(name) > LONGEST_NAME:
        return f"has {len(name):,} characters, {LONGEST_NAME} are allowed; shorten it"
    for place, character in enumerate(name):
        if _is_unseen(name, place):
            kind = "a line break or control character" if ord(character) < 0xA0 else "the invisible character"
            return f"holds {kind} U+{ord(character):04X}; retype it"
    return ""


def seen(name: str) -> str:
    """What people see of a name: two names with the same are one."""
    shown = "".join(character for character in name if not _is_invisible(character))
    return " ".join(_SELECTORS.sub("", composed(shown)).split())


def loose(name: str) -> str:
    """A name without capitals, punctuation, and the zeros that spreadsheets add to numbers or take away."""
    text = unicodedata.normalize("NFKC", seen(name)).casefold()
    text = re.sub(r"^(\d+)\.0+$", r"\1", text)
    text = "".join(character if unicodedata.category(character)[0] in "LMN" else "-" for character in text)
    # Numbers that punctuation keeps apart are two numbers; words are one word all the same.
    parts = re.findall(r"\d+|[^\d-]+", text)
    return "".join(f"|{part.lstrip('0') or '0'}|" if part.isdecimal() else part for part in parts) or name


def resembling(names: Iterable[str]) -> Iterator[tuple[str, str, str]]:
    """Pairs of names that differ only in capitals, in punctuation or in one letter of a word, and in which of them."""
    known = {name: loose(name) for name in sorted(set(names)) if name}
    for one, other in combinations(known, 2):
        if known[one] == known[other]:
            same = seen(one).casefold() == seen(other).casefold()
            yield one, other, "capitals" if same else "capitals, punctuation or zeros"
        elif _one_letter_apart(known[one], known[other]):
            yield one, other, "one letter"


def _one_letter_apart(one: str, other: str) -> bool:
    """Whether a letter of a longer word was left out, doubled, exchanged or mistaken; not its last, which counts."""
    short, long = sorted((one, other), key=len)
    start = next((i for i, (a, b) in enumerate(zip(short, long, strict=False)) if a != b), len(short))
    if max(map(len, re.findall(r"[^\W\d_]+", long)), default=0) < _SHORTEST_WORD:
        return False
    if len(long) == len(short) + 1:
        return long[start].isalpha() and short[start:] == long[start + 1 :]
    if len(long) > len(short) or not (short[start:][:2] + long[start:][:2]).isalpha():
        return False
    mistaken = short[start + 1 :] == long[start + 1 :] != ""
    exchanged = short[start : start + 2] == long[start : start + 2][::-1] and short[start + 2 :] == long[start + 2 :]
    return mistaken or exchanged


def _is_unseen(name: str, place: int) -> bool:
    """Whether a character shows nothing where it stands."""
    character = name[place]
    if character in _JOINERS:
        beside = name[max(0, place - 1) : place] + name[place + 1 : place + 2]
        return len(beside) < 2 or beside[0].isascii() or beside[1].isascii()
    return _is_invisible(character)


def _is_invisible(character: str) -> bool:
    return character in _BLANK or unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")
