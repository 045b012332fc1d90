"""Content of other backbones that are not tuned, in the place of the LLM's.

days = with_frozen(days, tellings, ["gemma3-270m"], home, profile)    # content["frozen gemma3-270m"] of each corpus

The layers and the pooling are those of the profile. The weights of a telling mean come from the training texts.
"""

from collections.abc import Sequence

from livealign.dataset.corpus import Corpus
from livealign.home import Home
from livealign.llm.backbone import load_backbone
from livealign.llm.embedding_cache import EmbeddingCache
from livealign.llm.encoder import Encoder
from livealign.llm.pooling import TELLING, Pooling, telling_weights
from livealign.llm.prefix import tokenize
from livealign.profiles import Profile


def frozen_name(backbone: str) -> str:
    """The name of a backbone's content in a corpus."""
    return f"frozen {backbone}"


def with_frozen(
    days: Sequence[Corpus], tellings: Sequence[Sequence[str]], backbones: Sequence[str], home: Home, profile: Profile
) -> list[Corpus]:
    """The corpora with the content of each backbone.

    Args:
        tellings: for each corpus, the texts of its segments without row 0.

    Raises:
        BackboneError: a backbone is not in the workspace, or cannot be run.
    """
    found = list(days)
    for name in backbones:
        is_train = found[0].segment_is_train[1:]
        trained_on = [text for text, train in zip(tellings[0], is_train.tolist(), strict=True) if train]
        encoder = frozen_encoder(name, home, profile, trained_on)
        for place, (told, texts) in enumerate(zip(found, tellings, strict=True)):
            vectors = encoder.encode(texts, cache=EmbeddingCache(home.embedding_cache))
            found[place] = told.with_content(frozen_name(name), told.segment_ids[1:], vectors)
        print(f"read by {name}, {encoder.last} layers", flush=True)
    return found


def frozen_encoder(name: str, home: Home, profile: Profile, training_texts: Sequence[str]) -> Encoder:
    """The encoder of a backbone without an adapter."""
    backbone, budget = load_backbone(name, home.models), profile.segments.token_budget
    weights = None
    if profile.encoder.pooling == TELLING:
        tokens = tokenize(backbone, training_texts, budget)
        weights = telling_weights(tokens, backbone.vocabulary, profile.encoder.half_share).to(backbone.device)
    pooling = Pooling(profile.encoder.pooling, weights)
    return Encoder(backbone, None, None, pooling, profile.encoder, budget)
