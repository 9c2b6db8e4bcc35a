"""Published weights of timm's networks, fetched from the Hub."""

from __future__ import annotations

from divsal_bench.errors import UserError
from divsal_bench.files.texts import first_line
from divsal_bench.hub.client import address, patiently
from divsal_bench.hub.guard import Guard, MisbehavedError, UnreachableError

#: Bytes of published weights; timm's largest network has some five thousand million.
LARGEST_WEIGHTS = 2**33


def weights_file(backbone: str) -> str:
    """Fetch the tag's published weights, safetensors only: a pickle is never loaded."""
    import timm
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    published = timm.get_pretrained_cfg(backbone)
    if published is None:
        raise UserError(f"timm knows no published weights of {backbone!r}")
    repository = str(published.hf_hub_id)
    if repository.endswith("/"):
        repository += backbone
    guard = Guard(address(), largest=LARGEST_WEIGHTS, all=2 * LARGEST_WEIGHTS, question=False)
    try:
        return str(patiently(lambda: hf_hub_download(repository, "model.safetensors"), guard))
    except (LocalEntryNotFoundError, UnreachableError) as error:
        raise UserError(
            f"the weights of {backbone} ({repository} on the Hugging Face Hub) are not in the local cache "
            "and the Hub cannot be reached; connect once, or choose a protocol that trains from scratch, "
            "e.g. quick-v1"
        ) from error
    except EntryNotFoundError as error:
        raise UserError(f"{repository} has no model.safetensors, and no other format is loaded") from error
    except (HfHubHTTPError, MisbehavedError, OSError) as error:
        raise UserError(f"the weights of {backbone} could not be fetched: {first_line(error)}") from error
