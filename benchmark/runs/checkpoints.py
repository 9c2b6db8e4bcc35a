"""Checkpoints: the state of an unfinished run in two files, and which of them a run may go on from.

``state-STEP.safetensors`` is written first; ``state.json``, which holds its sha256 and a seal of itself, is renamed
into place last: what it says is whole. Either may be anybody's. No torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import Field, ValidationError
from safetensors import SafetensorError

from divsal_bench.errors import UserError, field_problem
from divsal_bench.files import foreign, whole
from divsal_bench.files.foreign import RefusedError
from divsal_bench.files.models import read_model
from divsal_bench.runs.messages import MOST_NOTICES
from divsal_bench.runs.unfinished import LARGEST_COUNT, entries_of, folder_of, make_folder
from divsal_bench.scores.schema import Typed

#: Raised when state.json or the tensors change in a way that older readers would misread.
CHECKPOINT_VERSION: Final = 1
STATE_FILE = "state.json"
#: Bytes of a state.json: ours have some ten thousand, more if a method keeps long lists.
LARGEST_STATE = 2**24
#: Bytes of its tensors: three or four times a network's weights, and what a method keeps.
LARGEST_TENSORS = 2**35


class Maker(Typed):
    """What a state depends on; a run goes on from one only where all of it is the same.

    Attributes:
        run_id: A hash of the specification, the data's fingerprint and the engine's version among it.
        replaces: When the run without a result was made that this run replaces.
        device: The kind: ``cpu``, ``cuda`` or ``mps``.
        versions: Of Python and the packages that a result depends on.
    """

    run_id: str
    engine_version: int
    replaces: str
    versions: dict[str, str]
    method_source: str
    pixel_hash: str
    device: str


class Checkpoint(Typed):
    """The content of state.json.

    Attributes:
        hardware: The device's model, or the processor's instructions: where they differ, so may a last digit.
        step: Training steps done; part of the tensors' file's name.
        seconds: Spent on the run so far, in all its parts.
        resumes: How often it had gone on from a checkpoint.
        notices: For the record, of the parts before.
        state: Of the training, as the room of training writes and reads it.
        tensors_sha256, tensors_size: Of the tensors' file.
        seal: A hash of all other fields; "" while it is made.
    """

    schema_version: Literal[1] = CHECKPOINT_VERSION
    maker: Maker
    hardware: str
    step: int = Field(ge=0, le=LARGEST_COUNT)
    epoch: int = Field(ge=1, le=LARGEST_COUNT)
    seconds: float = Field(ge=0, le=LARGEST_COUNT)
    resumes: int = Field(ge=0, le=LARGEST_COUNT)
    notices: list[str] = Field(max_length=MOST_NOTICES)
    state: dict[str, Any]
    tensors_sha256: str = ""
    tensors_size: int = Field(default=0, ge=0, le=LARGEST_TENSORS)
    seal: str = ""

    @property
    def tensors_file(self) -> str:
        """Name of the file of the tensors."""
        return f"state-{self.step}.safetensors"

    def sealed(self) -> str:
        """The hash that belongs into ``seal``."""
        content = self.model_dump(mode="json", exclude={"seal"})
        return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def write_checkpoint(out: Path, checkpoint: Checkpoint, write_tensors: Callable[[Path], None]) -> None:
    """Write a checkpoint in place of an earlier one, which stays until this one is whole.

    Args:
        write_tensors: Writes the tensors to the file that it is given.

    Raises:
        UserError: It cannot be written: the disk is full, say, or the state too large. Nothing half-written stays.
    """
    run_id = checkpoint.maker.run_id
    try:
        folder = make_folder(out, run_id)
        whole.sweep([folder])
        tensors = folder / checkpoint.tensors_file
        with whole.new_file(tensors) as aside:
            write_tensors(aside)
            told = {"tensors_sha256": foreign.sha256(aside), "tensors_size": aside.stat().st_size}
        checkpoint = checkpoint.model_copy(update=told)
        checkpoint = checkpoint.model_copy(update={"seal": checkpoint.sealed()})
        content = json.dumps(checkpoint.model_dump(mode="json")).encode()
        if len(content) > LARGEST_STATE:
            whole.remove(tensors)
            raise UserError(f"its state has {len(content):,} bytes beside the tensors, {LARGEST_STATE:,} are allowed")
        whole.write(folder / STATE_FILE, content)
    except (OSError, ValueError, SafetensorError) as error:  # safetensors has an exception of its own for a full disk
        raise UserError(str(getattr(error, "strerror", None) or error)) from error
    for left in entries_of(folder):
        if left.name.startswith("state-") and left.name != checkpoint.tensors_file:
            whole.remove(left)


def read_checkpoint(out: Path, maker: Maker) -> tuple[Checkpoint, bytes] | None:
    """The checkpoint that a run can go on from, and its tensors as safetensors; None where there is none.

    Raises:
        RefusedError: There is one that is damaged, or of another run, version or kind of device; the text is why, as
            ``it …`` goes on.
    """
    folder = folder_of(out, maker.run_id)
    path = folder / STATE_FILE
    if not folder.is_symlink() and not path.is_symlink() and not path.exists():
        return None
    try:
        for one in (folder.parent, folder, path):
            if one.is_symlink():
                raise RefusedError("is a link")
        found = read_model(path, Checkpoint, LARGEST_STATE, newest=CHECKPOINT_VERSION)
        if found.seal != found.sealed():
            raise RefusedError("is damaged: state.json is not what was written")
        require_same(found.maker, maker)
        return found, read_tensors(folder, found)
    except ValidationError as error:
        field, problem = field_problem(error.errors())
        raise RefusedError(f"is damaged: field {field!r} {problem}") from None
    except UserError as error:
        raise RefusedError(f"cannot be read ({error})") from None
    except (OSError, ValueError, RecursionError) as error:
        raise RefusedError(
            str(error) if isinstance(error, RefusedError) else f"is damaged: {foreign.why_unread(error)}"
        ) from None


def read_tensors(folder: Path, checkpoint: Checkpoint) -> bytes:
    """The bytes of a checkpoint's tensors, once they are known to be those that were written."""
    path = folder / checkpoint.tensors_file
    if path.is_symlink():
        raise RefusedError("has a link in place of its tensors")
    if path.stat().st_size != checkpoint.tensors_size:
        raise RefusedError(f"is damaged: {path.name} has another size than was written")
    content = foreign.read_bytes(path, checkpoint.tensors_size)
    if hashlib.sha256(content).hexdigest() != checkpoint.tensors_sha256:
        raise RefusedError(f"is damaged: {path.name} is not what was written")
    return content


def require_same(found: Maker, own: Maker) -> None:
    """Refuse a checkpoint that was made by another specification, program, method or kind of device."""
    if found.run_id != own.run_id:
        raise RefusedError("is of another specification")
    if found.engine_version != own.engine_version:
        raise RefusedError(f"is of engine version {found.engine_version}, this is {own.engine_version}")
    if found.versions != own.versions:
        raise RefusedError(f"was made with {differing(found.versions, own.versions)}")
    if found.method_source != own.method_source:
        raise RefusedError("was made with other code of the method")
    if found.pixel_hash != own.pixel_hash:
        raise RefusedError("was made on other pixels")
    if found.device != own.device:
        raise RefusedError(f"was made on the device {found.device[:40]}, this is {own.device}")
    if found.replaces != own.replaces:
        raise RefusedError("belongs to an earlier try, which has its record")


def differing(found: Mapping[str, str], own: Mapping[str, str]) -> str:
    """The first version that differs, in words."""
    name = next(name for name in sorted({*found, *own}) if found.get(name) != own.get(name))
    return f"{name[:40]} {found.get(name, 'of no version')[:40]}, this is {own.get(name, 'without it')}"
