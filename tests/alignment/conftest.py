"""A corpus whose content tells the topic, and towers trained on it, once a process."""

import pytest

from livealign.alignment.towers import Alignment
from livealign.alignment.training import train_alignment
from livealign.dataset.corpus import Corpus
from tests.support.topic_corpus import CONFIG, CONTENT, planted_corpus


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Authors whose rooms go through all topics: the ID says little, the moment much."""
    return planted_corpus(tmp_path_factory.mktemp("marts"), topics_of_author=4)


@pytest.fixture(scope="session")
def alignment(corpus: Corpus) -> Alignment:
    return train_alignment(corpus, corpus.content[CONTENT], CONFIG)[0]
