"""Start the towers from the previous release's.

Towers trained from scratch every day have a new space, in which yesterday's codes mean nothing. Warm-started towers keep the
space, and so the meaning of the codes, and a day costs one epoch.
"""

from dataclasses import dataclass, replace

import torch

from livealign.alignment.network import TwoTower
from livealign.alignment.towers import Alignment
from livealign.config import AlignmentConfig
from livealign.dataset.corpus import Corpus
from livealign.dataset.examples import Vocabulary


@dataclass(frozen=True)
class WarmStart:
    """The previous release's towers and the ids that they know."""

    alignment: Alignment
    users: Vocabulary
    authors: Vocabulary

    def fits(self, config: AlignmentConfig, sources: tuple[int, ...], history_length: int) -> bool:
        """Whether towers of this config and these sources of content can start from them.

        The config's seed may differ.
        """
        previous = self.alignment
        return (
            replace(previous.config, seed=config.seed) == config
            and previous.sizes.sources == sources
            and previous.history_length == history_length
        )

    @torch.no_grad()
    def apply_to(self, network: TwoTower, corpus: Corpus) -> None:
        """Copy the previous weights, and the row of every known id, into `network`.

        `network` is built for the corpus. A new id keeps its initial row, except that the trust in a new author's content is
        the trust in an unknown author's. The popularity of authors stays the corpus' own. The scalers are the previous ones,
        so that content keeps its meaning.
        """
        own = network.state_dict()
        rows = {
            "users.user.weight": (self.users, corpus.users),
            "rooms.author.weight": (self.authors, corpus.authors),
            "author_bias.weight": (self.authors, corpus.authors),
            "rooms.author_trust": (self.authors, corpus.authors),
        }
        weights = {name: tensor.cpu() for name, tensor in self.alignment.network.state_dict().items()}
        weights["rooms.author_popularity"] = own["rooms.author_popularity"]
        own["rooms.author_trust"] = weights["rooms.author_trust"][:1].expand_as(own["rooms.author_trust"])
        for name, (previous, present) in rows.items():
            weights[name] = _rows_by_id(weights[name], previous, own[name], present)
        network.load_state_dict(weights)


def _rows_by_id(rows: torch.Tensor, previous: Vocabulary, own: torch.Tensor, present: Vocabulary) -> torch.Tensor:
    """`own`, with the rows of ids in both vocabularies and of "unknown" (0) replaced by the previous `rows`."""
    place = torch.from_numpy(previous.lookup(present.ids))  # [present ids], 0 = not in the previous vocabulary
    known = torch.nonzero(place > 0).squeeze(1)
    merged = own.clone()
    merged[0] = rows[0]
    merged[known + 1] = rows[place[known]]
    return merged
