"""The training split's human maps, as a method is handed them: by rows, since they need not be in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from torch import Tensor

#: What to do instead.
FIX = "train.maps is read by rows: take train.maps[rows], a tensor, of as many rows as memory holds"


class MapsByRow:
    """A :class:`divsal_bench.contracts.method.HumanMaps`; whatever else one does to a tensor names the fix."""

    __slots__ = ("__weakref__", "shape")

    def __init__(self, shape: tuple[int, int, int], read: Callable[[Tensor], Tensor]) -> None:
        self.shape = shape
        READERS[self] = read

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Tensor) -> Tensor:
        import torch

        if not isinstance(rows, torch.Tensor) or rows.dtype not in (torch.int64, torch.bool) or rows.ndim != 1:
            raise TypeError(f"{FIX}; rows is a tensor of row numbers or of one bool a row")
        return READERS[self](rows.nonzero()[:, 0] if rows.dtype == torch.bool else rows)

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"no {name}: {FIX}")

    def refuse(self, *_: Any) -> NoReturn:
        """There is no arithmetic on what is not in memory."""
        raise TypeError(FIX)

    @classmethod
    def __torch_function__(cls, *_: Any) -> NoReturn:
        raise TypeError(FIX)

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __floordiv__ = refuse
    __gt__ = __ge__ = __lt__ = __le__ = __and__ = __or__ = __invert__ = __iter__ = __array__ = refuse


#: How each is read. Kept apart, so that what a method holds leads to maps of training rows and to nothing else.
READERS: WeakKeyDictionary[MapsByRow, Callable[[Tensor], Tensor]] = WeakKeyDictionary()
