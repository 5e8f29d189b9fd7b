"""timm's own weights for a backbone, as they lie in the caches of this machine: nothing is downloaded."""

import difflib
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlparse

from .backbones import OWN_BACKBONES
from .weight_files import WeightsError
from .weights_config import DEFAULT_TAG

HUB_FILES = ("model.safetensors", "pytorch_model.bin")
"""Of a repository with weights, those that timm takes, in its order."""


class TimmWeights(NamedTuple):
    """Weights that timm knows: where each of its caches has them."""

    name: str
    """Architecture and tag, e.g. ``resnet50.a1_in1k``."""
    tag: str
    repository: str | None
    """On Hugging Face's hub."""
    revision: str | None
    hub_files: tuple[str, ...]
    url_file: str | None
    """In torch's folder of checkpoints, where timm keeps what it takes from an address."""

    def file(self) -> Path:
        """The file in a cache; the hub's comes first, as with timm.

        Raises:
            WeightsError: no cache has it.
        """
        import torch
        from huggingface_hub import constants, try_to_load_from_cache

        places: list[str] = []
        if self.repository is not None:
            for file in self.hub_files:
                found = try_to_load_from_cache(self.repository, file, constants.HF_HUB_CACHE, self.revision)
                if isinstance(found, str):
                    return Path(found)
            files = " (or ".join(self.hub_files) + ")" * (len(self.hub_files) - 1)
            places.append(f"{files} of the Hugging Face repository {self.repository} in {constants.HF_HUB_CACHE}")
        if self.url_file is not None:
            folder = Path(torch.hub.get_dir()) / "checkpoints"
            if (folder / self.url_file).is_file():
                return folder / self.url_file
            places.append(f"{self.url_file} in {folder}")
        command = f"""python -c "import timm; timm.create_model('{self.name}', pretrained=True)\""""
        raise WeightsError(
            f"is not in timm's cache on this machine: looked for {', and for '.join(places)}. Nothing is downloaded here; on"
            f" a machine with a network, {command} fills the cache, which can be copied"
        )


def timm_weights(backbone: str, tag: str) -> TimmWeights:
    """What timm has for `backbone` under `tag`; ``default``: under the tag in the backbone's name, else under timm's first.

    Raises:
        WeightsError: it has nothing, or nothing that can be read here, or the backbone's name has another tag.
    """
    import timm

    network, _, own = backbone.partition(".")
    wanted = own if tag == DEFAULT_TAG else tag
    if own and own != wanted:
        raise WeightsError(f"is not of backbone '{backbone}', whose name has the tag '{own}'; give it one of the two")
    tags = [] if network in OWN_BACKBONES else [name.partition(".")[2] for name in timm.list_pretrained(f"{network}.*")]
    if not tags:
        raise WeightsError(f"cannot be used: timm has no weights for backbone '{network}'")
    if wanted and wanted not in tags:
        near = difflib.get_close_matches(wanted, tags, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise WeightsError(f"cannot be used: timm has no weights '{wanted}' for '{network}'{hint} ({', '.join(tags)})")
    found = timm.get_pretrained_cfg(f"{network}.{wanted}" if wanted else network)
    assert found is not None and found.tag is not None
    repository, _, revision = (found.hf_hub_id or "").partition("@")
    url = found.url if isinstance(found.url, str) and not found.custom_load else None
    if not repository and not url:
        raise WeightsError("cannot be used: timm has these weights in a format of their own only")
    return TimmWeights(
        f"{network}.{found.tag}",
        found.tag,
        repository or None,
        revision or None,
        (found.hf_hub_filename,) if found.hf_hub_filename else HUB_FILES,
        Path(urlparse(url).path).name if url else None,
    )
