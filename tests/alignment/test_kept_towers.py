"""Towers that are saved, read from earlier versions, and gone on from."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from livealign.alignment.network import TwoTower
from livealign.alignment.towers import Alignment, item_vectors
from livealign.alignment.training import train_alignment
from livealign.alignment.warm_start import WarmStart
from livealign.dataset.corpus import Corpus
from livealign.dataset.examples import Vocabulary
from livealign.dataset.scaling import METADATA
from livealign.errors import BundleError
from tests.support.topic_corpus import CONFIG, CONTENT, within_users


def test_towers_that_go_on_keep_the_space_and_cold_ones_do_not(corpus: Corpus, alignment: Alignment) -> None:
    content = corpus.content[CONTENT]
    previous = WarmStart(alignment, corpus.users, corpus.authors)
    warm, report = train_alignment(corpus, content, CONFIG, warm_start=previous)
    cold, _ = train_alignment(corpus, content, replace(CONFIG, seed=5))
    before, after, anew = (item_vectors(one, corpus, content)[1:] for one in (alignment, warm, cold))
    assert report.warm_started
    assert report.check is None
    assert len(report.losses) == CONFIG.warm_epochs
    assert (before * after).sum(1).mean() > 0.97
    assert (before * anew).sum(1).mean() < 0.5
    assert within_users(warm, corpus, content) > within_users(alignment, corpus, content) - 0.01


def test_a_known_id_keeps_its_row_and_a_new_one_has_its_own(corpus: Corpus, alignment: Alignment) -> None:
    grown = replace(corpus, users=Vocabulary(np.sort(np.r_[corpus.users.ids[3:], 10**9])))
    previous = WarmStart(alignment, corpus.users, corpus.authors)
    network = TwoTower(alignment.sizes._replace(users=grown.users.size), CONFIG, alignment.history_length, "learned")
    fresh = network.users.user.weight[-1].detach().clone()
    previous.apply_to(network, grown)
    theirs, ours = alignment.network.users.user.weight, network.users.user.weight
    assert torch.equal(ours[0], theirs[0])
    assert torch.equal(ours[1:-1], theirs[4:])
    assert torch.equal(ours[-1], fresh)
    assert torch.equal(network.rooms.author.weight, alignment.network.rooms.author.weight)


def test_towers_of_the_version_before_trust_are_read_and_gone_on_from(
    corpus: Corpus, alignment: Alignment, tmp_path: Path
) -> None:
    trusting = copy.deepcopy(alignment)
    trusting.network.rooms.author_trust.fill_(1.0)
    trusting.save(path := tmp_path / "alignment.safetensors")
    with safe_open(path, framework="pt") as file:
        metadata = json.loads(file.metadata()[METADATA])
        tensors = {name: file.get_tensor(name) for name in file.keys() if name != "rooms.author_trust"}  # noqa: SIM118
    metadata["format"], metadata["config"]["check_share"] = "livealign-alignment-2", 0.1
    del metadata["config"]["check"]
    save_file(tensors, path, {METADATA: json.dumps(metadata)})
    loaded = Alignment.load(path)
    content = corpus.content[CONTENT]
    assert (item_vectors(loaded, corpus, content) == item_vectors(trusting, corpus, content)).all()
    previous = WarmStart(loaded, corpus.users, corpus.authors)
    assert previous.fits(CONFIG, alignment.sizes.sources, alignment.history_length)


def test_towers_of_the_version_with_one_trust_for_all_sources_are_read_and_continued_from(
    corpus: Corpus, alignment: Alignment, tmp_path: Path
) -> None:
    alignment.save(path := tmp_path / "alignment.safetensors")
    with safe_open(path, framework="pt") as file:
        metadata = json.loads(file.metadata()[METADATA])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    tensors["rooms.author_trust"] = tensors["rooms.author_trust"][:, 0].contiguous()
    metadata["format"] = "livealign-alignment-3"
    for part, name in (("sizes", "unused"), ("config", "sources"), ("config", "source_dropout")):
        del metadata[part][name]
    save_file(tensors, path, {METADATA: json.dumps(metadata)})
    loaded = Alignment.load(path)
    content = corpus.content[CONTENT]
    assert (item_vectors(loaded, corpus, content) == item_vectors(alignment, corpus, content)).all()
    previous = WarmStart(loaded, corpus.users, corpus.authors)
    widths = alignment.sizes.sources
    assert previous.fits(CONFIG, widths, alignment.history_length)
    assert not previous.fits(replace(CONFIG, sources=("llm", "lexical")), (*widths, 8), alignment.history_length)


def test_trust_goes_on_with_the_towers_and_a_new_author_has_that_in_an_unknown_one(
    corpus: Corpus, alignment: Alignment
) -> None:
    trusting = copy.deepcopy(alignment)
    with torch.no_grad():
        trusting.network.rooms.author_trust.copy_(torch.linspace(0.2, 0.9, corpus.authors.size).unsqueeze(1))
    grown = replace(corpus, authors=Vocabulary(np.sort(np.r_[corpus.authors.ids[1:], 10**9])))
    network = TwoTower(alignment.sizes._replace(authors=grown.authors.size), CONFIG, alignment.history_length, "learned")
    WarmStart(trusting, corpus.users, corpus.authors).apply_to(network, grown)
    theirs, ours = trusting.network.rooms.author_trust, network.rooms.author_trust
    assert torch.equal(ours[1:-1], theirs[2:])
    assert ours[0] == ours[-1] == theirs[0]


@pytest.mark.parametrize("other", [{"dim": 8}, {"gate_bias": 0.0}, {"content_rank": 4}, {"even_dimensions": 1.0}])
def test_towers_of_other_settings_are_not_gone_on_from(corpus: Corpus, alignment: Alignment, other: dict[str, float]) -> None:
    previous = WarmStart(alignment, corpus.users, corpus.authors)
    _, report = train_alignment(corpus, corpus.content[CONTENT], replace(CONFIG, epochs=1, **other), warm_start=previous)
    assert not report.warm_started


def test_saved_towers_come_back_as_they_were(corpus: Corpus, alignment: Alignment, tmp_path: Path) -> None:
    path = tmp_path / "alignment.safetensors"
    alignment.save(path)
    loaded = Alignment.load(path)
    vectors = item_vectors(alignment, corpus, corpus.content[CONTENT])
    assert (item_vectors(loaded, corpus, corpus.content[CONTENT]) == vectors).all()
    assert (loaded.scores(corpus.test, vectors) == alignment.scores(corpus.test, vectors)).all()
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BundleError, match=r"alignment\.safetensors"):
        Alignment.load(path)
    with pytest.raises(BundleError, match="nowhere"):
        Alignment.load(tmp_path / "nowhere.safetensors")
