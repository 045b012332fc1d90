"""Load the models and the encoder of a bundle.

    models = ReleaseModels.load(bundle, device)    # all of them, checked that they fit each other
    encoder = load_encoder(bundle, home.models)    # needs the backbone, if the release reads the LLM

To read one model alone, such as the towers that a retrain continues from, use `ReleaseModels(bundle).alignment`. It works
for a release whose other models this code no longer reads, so a new format does not stop the next retrain.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import torch

from livealign.alignment.towers import Alignment
from livealign.codes.codebook import Codebook
from livealign.config import AUTO, EncoderConfig, SegmentConfig
from livealign.dataset.examples import KnownIds
from livealign.errors import BackboneError, BundleError
from livealign.llm.backbone import Backbone, int8_serves, load_backbone, load_identified
from livealign.llm.backbone_names import PIXELS, TINY
from livealign.llm.content_encoder import ContentEncoder
from livealign.llm.encoder import Encoder
from livealign.llm.image_encoder import ImageEncoder, load_identified_images, load_image_encoder
from livealign.llm.lexical import Lexicon
from livealign.llm.lookup import find_backbone
from livealign.ranking.ranker import Ranker
from livealign.release.bundle import ADAPTER, ALIGNMENT, CODEBOOK, LEXICON, RANKER, Bundle
from livealign.release.contents import read_vocabulary


class ReleaseModels:
    """The models of one release; each is read at its first use.

    Raises:
        BundleError: at the first use, if the file is missing, damaged, or of another release.
    """

    def __init__(self, bundle: Bundle, device: torch.device | str = "cpu") -> None:
        self.bundle = bundle
        self.device = torch.device(device)

    @classmethod
    def load(cls, bundle: Bundle, device: torch.device | str = "cpu") -> "ReleaseModels":
        """All models, read and checked at once.

        Raises:
            BundleError: a file is missing or damaged, or the models are not of one retrain.
        """
        models = cls(bundle, device)
        alignment, codebook, ranker, _ = models.alignment, models.codebook, models.ranker, models.vocabulary
        if codebook.dim != alignment.config.dim or ranker.sizes.vector_dim not in (0, alignment.config.dim):
            raise BundleError(f"the models in {bundle.path} do not fit each other; build the release again")
        return models

    @cached_property
    def alignment(self) -> Alignment:
        """The gate and the two towers."""
        return Alignment.load(self.bundle.file(ALIGNMENT), self.device)

    @cached_property
    def codebook(self) -> Codebook:
        """The codebook: vector → semantic codes."""
        return Codebook.load(self.bundle.file(CODEBOOK))

    @cached_property
    def ranker(self) -> Ranker:
        """The multi-task ranker, trained with this codebook."""
        return Ranker.load(self.bundle.file(RANKER), self.codebook.version, self.device)

    @cached_property
    def vocabulary(self) -> KnownIds:
        """The users and authors that the models know, and the base rates."""
        return read_vocabulary(self.bundle)


def sources_of(bundle: Bundle) -> tuple[str, ...]:
    """The sources of content that the release reads; of an earlier version, the LLM alone.

    Raises:
        BundleError: the manifest does not say how the release was made.
    """
    try:
        return tuple(bundle.manifest["config"]["alignment"].get("sources", ("llm",)))
    except (KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"{bundle.path} does not say what its towers read ({error!r}); build the release again") from error


def reads_pictures(bundle: Bundle) -> bool:
    """Whether the release reads pictures: as a source of content, or by its LLM."""
    return "frames" in sources_of(bundle) or "image_backbone" in bundle.manifest


def load_encoder(bundle: Bundle, models: Path | Sequence[Path], backbone: Backbone | None = None) -> ContentEncoder:
    """The release's encoder of texts: a vector from each source of content.

    The backbone is known by its hash; where it lay when the release was made does not matter.

    Args:
        models: folders of the backbones, in the order in which they are looked through.
        backbone: a loaded backbone, used if it is the release's.

    Raises:
        BackboneError: the backbone is missing, or is not the one that the release was made with.
        BundleError: the manifest does not say how texts are encoded, or the lexicon is missing or damaged.
    """
    sources = sources_of(bundle)
    llm = _load_llm(bundle, models, backbone) if "llm" in sources else None
    return ContentEncoder(
        sources,
        llm,
        Lexicon.load(bundle.file(LEXICON)) if "lexical" in sources else None,
        _load_images(bundle, models, None if llm is None else llm.backbone) if reads_pictures(bundle) else None,
    )


def _load_llm(bundle: Bundle, models: Path | Sequence[Path], backbone: Backbone | None) -> Encoder:
    """The release's language model: its backbone with its adapter.

    Raises:
        BackboneError: the backbone is missing, or is not the one that the release was made with.
        BundleError: the manifest does not say how texts are encoded.
    """
    try:
        wanted, config = bundle.manifest["backbone"], bundle.manifest["config"]
        encoder, segments = EncoderConfig(**config["encoder"]), SegmentConfig(**config["segments"])
    except (KeyError, TypeError) as error:
        raise BundleError(f"{bundle.path} does not say how texts are encoded ({error!r}); build the release again") from error
    if backbone is None or not backbone.identity.is_called(wanted["sha256"]):
        places = [models] if isinstance(models, Path) else list(models)
        backbone = _backbone(bundle.release_id, wanted, places, reads_pictures(bundle))
    if not int8_serves() or backbone.device.type != "cpu":  # made on another kind of machine: in the numbers of this one
        encoder = replace(encoder, number_type=AUTO)
    return Encoder.load(backbone, bundle.path / ADAPTER, encoder, segments)


def _load_images(bundle: Bundle, models: Path | Sequence[Path], backbone: Backbone | None) -> ImageEncoder:
    """The release's image encoder, known by its hash; it may be a part of the loaded backbone.

    Raises:
        BackboneError: it is missing.
        BundleError: the manifest does not name it.
    """
    try:
        wanted = bundle.manifest["image_backbone"]
        name, sha256 = wanted["id"], wanted["sha256"]
    except (KeyError, TypeError) as error:
        raise BundleError(f"{bundle.path} does not name its image encoder ({error!r}); build the release again") from error
    places = [models] if isinstance(models, Path) else list(models)
    if name == PIXELS:
        return load_image_encoder(PIXELS, places[0])
    tokens = bundle.manifest["config"].get("frames", {}).get("prefix_tokens", 0)
    if backbone is not None and backbone.folder is not None and backbone.seeing is not None and backbone.sha256 == sha256:
        return load_identified_images(name, backbone.folder, backbone.identity, tokens, backbone)
    try:
        folder, identity = find_backbone(name, sha256, places, wanted.get("path", ""))
    except BackboneError as error:
        raise BackboneError(f"release {bundle.release_id} needs its image encoder: {error}") from error
    return load_identified_images(name, folder, identity, tokens)


def _backbone(release_id: str, wanted: Mapping[str, str], places: Sequence[Path], seeing: bool) -> Backbone:
    """The backbone that a manifest names, loaded, with its tower if it is `seeing`.

    Raises:
        BackboneError: no place holds it, or it cannot be loaded.
    """
    if wanted["id"] == TINY:
        tiny = load_backbone(TINY, places[0])
        if not tiny.identity.is_called(wanted["sha256"]):
            raise BackboneError(
                f"release {release_id} was made with backbone {TINY} {wanted['sha256'][:12]}, and this version makes "
                f"{tiny.sha256[:12]}; build the release again"
            )
        return tiny
    try:
        # Releases of 1.x name a folder of a person's own by its path.
        folder, identity = find_backbone(wanted["id"], wanted["sha256"], places, wanted.get("path", wanted["id"]))
    except BackboneError as error:
        raise BackboneError(f"release {release_id} needs its backbone: {error}") from error
    return load_identified(wanted["id"], folder, identity, seeing=seeing)
