"""Rows of decoded data, read from a cache folder when they are asked for and never trusted unverified."""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from divsal_bench.errors import UserError
from divsal_bench.files import foreign

#: Bytes in front of the rows of an .npy file of ours.
HEADER_BYTES = 128
#: Rows that one call of the system reads, which takes 1,024 buffers, and the bytes of such a read.
MOST_ROWS_A_READ, MOST_BYTES_A_READ = 512, 2**26
#: Name of the file that says, in a cache folder, why it must be made again.
DAMAGE_NOTE = "damaged"
#: What can be done about a damaged cache.
MEND = "give the command again to decode it anew, or delete that folder"


class DamagedCacheError(UserError):
    """Decoded data is not what was written: no fault of whoever works with it, and decoding again mends it."""

    def __init__(self, folder: Path, reason: str) -> None:
        super().__init__(f"the cached data in {folder} cannot be read ({reason}); {MEND}")


def npy_header(shape: tuple[int, ...]) -> bytes:
    """What an .npy file of bytes begins with; as long for every shape, so that rows can be counted while written."""
    fields = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {tuple(map(int, shape))}, }}"
    text = fields.ljust(HEADER_BYTES - 11).encode("ascii") + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


class StoredRows:
    """Bytes in an .npy file with the face of an array: an index reads just those rows, into memory of their own.

    They are read and not mapped: memory holds only what was asked for, the system's own copy of the file is shared by
    all processes, a file that was cut short is an error and no crash, and one that was deleted is read on. A row is
    verified when this process reads it for the first time, and again once the file has been written to. Threads may
    read at once, and so may processes that were forked with it.

    Args:
        path: The file, as :func:`npy_header` begins it.
        shape: Of the array.
        sums: uint32, (rows in the file,), the CRC-32 of each.
        stored: bool, (N,): the rows that the file has, in order; the others are zeros. None where it has all.

    Attributes:
        shape: N and the shape of a row.
        dtype: uint8.

    Raises:
        OSError, ValueError: The file is missing, or is not of that size.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], sums: np.ndarray, stored: np.ndarray | None = None) -> None:
        self.path = path
        self.shape = shape
        self.dtype = np.dtype(np.uint8)
        self.row_bytes = int(np.prod(shape[1:]))
        self._sums = sums
        self._places = np.arange(shape[0]) if stored is None else np.where(stored, np.cumsum(stored) - 1, -1)
        self._verified = np.zeros(len(sums), bool)
        self._moving = threading.Lock()
        self._file = foreign.opened_regular(path)
        self._state = self._now()
        wanted = len(npy_header(())) + len(sums) * self.row_bytes
        if self._state[0] != wanted or self._file.read(HEADER_BYTES) != npy_header((len(sums), *shape[1:])):
            raise ValueError(f"{path.name} is not as it was written")

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(shape={self.shape}, dtype=uint8)"

    def __getitem__(self, index: Any) -> np.ndarray:
        """Rows by a number, a slice, numbers or a mask; what follows in a tuple is taken of those rows."""
        if isinstance(index, tuple):
            first, *others = index
            rows = self[first]
            return np.array(rows[(*[slice(None)] * (rows.ndim - self.ndim + 1), *others)], order="C")
        if isinstance(index, slice):
            return self.read(range(*index.indices(len(self))))
        wanted = np.asarray(index)
        if wanted.dtype == bool:
            if wanted.shape != (len(self),):
                raise IndexError(f"a mask of shape {wanted.shape} does not choose among {len(self)} rows")
            wanted = np.flatnonzero(wanted)
        if not wanted.size:
            wanted = wanted.astype(np.intp)
        if wanted.dtype.kind not in "iu":
            raise IndexError(f"rows are chosen by whole numbers, a slice or a mask, not by {wanted.dtype}")
        return self.read(wanted.ravel()).reshape(*wanted.shape, *self.shape[1:])

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self[row] for row in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("rows on the disk cannot become an array without a copy")
        return self[:].astype(dtype or self.dtype, copy=False)

    def read(self, rows: Sequence[int] | np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Read rows; may be called in a thread beside other work, which it does not hold up.

        Args:
            rows: Their numbers, (n,), in any order; below 0 counts from the end.
            out: Where they go: uint8, (n, ...), C-contiguous. None makes an array.

        Returns:
            ``out``.

        Raises:
            DamagedCacheError: A row is missing or is not as it was written.
            IndexError: There is no such row.
        """
        places = self._places[np.asarray(rows, dtype=np.intp)]
        found = self._buffer(len(places), out)
        there = np.flatnonzero(places >= 0)
        if len(there) < len(places):
            found[places < 0] = 0
        self._fill(found, places[there], there)
        return found

    def _buffer(self, count: int, out: np.ndarray | None) -> np.ndarray:
        """Where so many rows go."""
        shape = (count, *self.shape[1:])
        if out is None:
            return np.empty(shape, np.uint8)
        if out.shape != shape or out.dtype != np.uint8 or not out.flags.c_contiguous:
            raise ValueError(f"rows go into a C-contiguous uint8 array of shape {shape}")
        return out

    def _fill(self, out: np.ndarray, places: np.ndarray, targets: np.ndarray) -> None:
        """Read the file's rows ``places`` into ``out[targets]``: in the file's order, neighbours at once, each once."""
        if not len(places):
            return
        before = self._now()
        if before != self._state:
            self._verified, self._state = np.zeros(len(self._sums), bool), before
        verified = self._verified
        wanted, first = np.unique(places, return_index=True)
        flat = out.reshape(len(out), -1)
        views = [flat[target].data for target in targets[first].tolist()]
        most = min(MOST_ROWS_A_READ, max(1, MOST_BYTES_A_READ // max(1, self.row_bytes)))
        ends = np.append(np.flatnonzero(np.diff(wanted) != 1) + 1, len(wanted)).tolist()
        start = 0
        for end in ends:
            while start < end:
                stop = min(end, start + most)
                self._read(int(wanted[start]), views[start:stop])
                start = stop
        # What was read while the file was written to may be old or new: it is verified, and will be again.
        same = self._now() == before
        for number in (np.flatnonzero(~verified[wanted]) if same else np.arange(len(wanted))).tolist():
            place = int(wanted[number])
            if zlib.crc32(views[number]) != self._sums[place]:
                raise self._damage(place, "changed after writing")
            verified[place] |= same
        if len(wanted) < len(places):
            out[targets] = out[targets[first][np.searchsorted(wanted, places)]]

    def _read(self, place: int, views: list[memoryview]) -> None:
        """Read neighbouring rows of the file, each into its own memory."""
        offset = HEADER_BYTES + place * self.row_bytes
        try:
            got = self._read_into(views, offset)
            if got == len(views) * self.row_bytes:
                return
            # The system may stop anywhere: the rest row by row.
            for number in range(got // self.row_bytes, len(views)):
                done = 0
                while done < self.row_bytes:
                    more = self._read_into([views[number][done:]], offset + number * self.row_bytes + done)
                    if not more:
                        raise self._damage(place + number, "is missing")
                    done += more
        except OSError as error:
            raise self._damage(place, f"gives: {error.strerror or error}") from error

    def _read_into(self, views: list[memoryview], offset: int) -> int:
        """Read from a place of the file into memory; the bytes read, which may be fewer."""
        if hasattr(os, "preadv"):
            return os.preadv(self._file.fileno(), views, offset)
        with self._moving:  # Windows: a file has one place, which all threads share
            self._file.seek(offset)
            return self._file.readinto(views[0])

    def _damage(self, place: int, what: str) -> DamagedCacheError:
        """A row is not to be had. The folder is marked, so that whoever opens it next decodes again."""
        row = int(np.flatnonzero(self._places == place)[0])
        reason = f"row {row} of {self.path.name} {what}"
        with suppress(OSError):
            # Another folder may stand there by now, which is not to blame.
            if os.path.samestat(os.fstat(self._file.fileno()), self.path.stat()):
                self.path.with_name(DAMAGE_NOTE).write_text(reason, encoding="utf-8")
        return DamagedCacheError(self.path.parent, reason)

    def _now(self) -> tuple[int, int]:
        """What changes when the file is written to or cut."""
        found = os.fstat(self._file.fileno())
        return found.st_size, found.st_mtime_ns
