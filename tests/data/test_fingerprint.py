import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from divsal_bench.data.fingerprint import (
    RowIdentity,
    bytes_digest,
    data_fingerprint,
    pixel_hash,
    standin_fingerprint,
)

pytestmark = pytest.mark.fast

ROW = RowIdentity("id", "train", 1, "source", "category", "subject", bytes_digest(b"image"), bytes_digest(b"map"))
OTHER = ROW._replace(sample_id="id 2", split="test")


def test_format_is_fixed():
    # Published results carry these: a change here orphans every one of them.
    assert data_fingerprint([ROW, OTHER]) == "17bc1066ffde28202bc375741a16d6a06c6a688e7686ba80d04d88e45a89238e"
    assert (
        standin_fingerprint("cxr", "standin", 1, 0)
        == "2d1f688437452bab093dfb79194d325e0498f95be0be9a0824162c14d0b57689"
    )


@given(st.permutations([ROW._replace(sample_id=str(number)) for number in range(6)]))
def test_order_does_not_matter(rows):
    assert data_fingerprint(rows) == data_fingerprint(sorted(rows))


@pytest.mark.parametrize("field", RowIdentity._fields)
def test_every_field_matters(field):
    changed = ROW._replace(**{field: 0 if field == "label" else getattr(ROW, field) + "x"})
    assert data_fingerprint([changed, OTHER]) != data_fingerprint([ROW, OTHER])


def test_neighbouring_fields_do_not_run_together():
    one = ROW._replace(source="a", category="bc")
    other = ROW._replace(source="ab", category="c")
    assert data_fingerprint([one]) != data_fingerprint([other])


def test_a_missing_map_is_not_an_empty_file():
    assert bytes_digest(None) != bytes_digest(b"")


def test_row_missing_or_twice():
    assert len({data_fingerprint(rows) for rows in ([], [ROW], [ROW, ROW], [ROW, OTHER])}) == 4


@pytest.mark.parametrize("change", [{"task": "iris-pad"}, {"variant": "standin:null"}, {"version": 2}, {"seed": 1}])
def test_standin_fingerprint_depends_on_each_part(change):
    base = {"task": "cxr", "variant": "standin", "version": 1, "seed": 0}
    assert standin_fingerprint(**{**base, **change}) != standin_fingerprint(**base)


def test_pixel_hash():
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    changed = pixels.copy()
    changed[1, 2, 3] += 1
    variants = [
        (pixels,),
        (changed,),
        (pixels.reshape(4, 6),),
        (pixels.view(np.int8),),
        (pixels, pixels),
        (pixels[:, ::-1],),
    ]
    assert len({pixel_hash(*arrays) for arrays in variants}) == len(variants)
    assert pixel_hash(np.asfortranarray(pixels)) == pixel_hash(pixels)
