"""The towers of the release before, to go on from: what they learned of users, authors and content is kept, and moves a little.

Towers that are trained anew every day end in a space of their own, where yesterday's codes mean nothing. Towers that go on
keep the space, and so the meaning of the codes, and a day costs one epoch.
"""

from dataclasses import dataclass, replace

import torch

from livealign.alignment.network import TwoTower
from livealign.alignment.towers import Alignment
from livealign.config import AlignmentConfig
from livealign.dataset.corpus import Corpus
from livealign.dataset.examples import Vocabulary


@dataclass(frozen=True)
class FormerTowers:
    """Trained towers and the ids that they know."""

    alignment: Alignment
    users: Vocabulary
    authors: Vocabulary

    def fit(self, config: AlignmentConfig, sources: tuple[int, ...], history_length: int) -> bool:
        """Whether towers of this config (but for its seed) and these sources of content can go on from them."""
        theirs = self.alignment
        return (
            replace(theirs.config, seed=config.seed) == config
            and theirs.sizes.sources == sources
            and theirs.history_length == history_length
        )

    @torch.no_grad()
    def start(self, network: TwoTower, corpus: Corpus) -> None:
        """Give `network`, which is built for the corpus, all that they know: every weight, and the row of every known id.

        An id that they do not know keeps the row that the network was made with, but for the trust in a new author's content,
        which is that in an unknown one's. How often authors were seen stays the corpus' own. The scalers are theirs, so that
        content means what it meant.
        """
        own = network.state_dict()
        rows = {
            "users.user.weight": (self.users, corpus.users),
            "rooms.author.weight": (self.authors, corpus.authors),
            "author_bias.weight": (self.authors, corpus.authors),
            "rooms.author_trust": (self.authors, corpus.authors),
        }
        theirs = {name: tensor.cpu() for name, tensor in self.alignment.network.state_dict().items()}
        theirs["rooms.author_popularity"] = own["rooms.author_popularity"]
        own["rooms.author_trust"] = theirs["rooms.author_trust"][:1].expand_as(own["rooms.author_trust"])
        for name, (former, present) in rows.items():
            theirs[name] = _rows_by_id(theirs[name], former, own[name], present)
        network.load_state_dict(theirs)


def _rows_by_id(theirs: torch.Tensor, former: Vocabulary, own: torch.Tensor, present: Vocabulary) -> torch.Tensor:
    """`own` with the rows of the ids that both vocabularies know, and of "unknown" (0), taken from `theirs`."""
    place = torch.from_numpy(former.lookup(present.ids))  # [present ids], 0 = they do not know it
    known = torch.nonzero(place > 0).squeeze(1)
    found = own.clone()
    found[0] = theirs[0]
    found[known + 1] = theirs[place[known]]
    return found
