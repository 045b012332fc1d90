"""Whatever the script, what is said now keeps at least half of the token budget, and training and serving cut alike."""

import numpy as np
import pytest
from transformers import PreTrainedTokenizerBase

from livealign.config import EncoderConfig, SegmentConfig
from livealign.llm.backbone import Backbone, load_backbone
from livealign.llm.encoder import Encoder
from livealign.llm.prefix import tokenize
from livealign.llm.segment_text import WindowText, compose_text
from livealign.llm.token_budget import fit_tokens
from tests.llm.test_backbone import real_models

CONFIG = SegmentConfig()
BUDGET = CONFIG.token_budget
# First and last letter of thirty scripts, and how long their words are; without spaces: 0.
SCRIPTS = {
    "Latin": ("a", "z", 5),
    "Greek": ("α", "ω", 5),
    "Cyrillic": ("а", "я", 6),
    "Armenian": ("ա", "ֆ", 6),
    "Hebrew": ("א", "ת", 4),
    "Arabic": ("ب", "ي", 4),
    "Syriac": ("ܐ", "ܬ", 4),
    "Devanagari": ("क", "ह", 4),
    "Bengali": ("ক", "ন", 4),
    "Gurmukhi": ("ਕ", "ਨ", 4),
    "Gujarati": ("ક", "ન", 4),
    "Oriya": ("କ", "ନ", 4),
    "Tamil": ("ஞ", "ஹ", 4),
    "Telugu": ("క", "న", 4),
    "Kannada": ("ಕ", "ನ", 4),
    "Malayalam": ("ക", "ന", 5),
    "Sinhala": ("ක", "න", 4),
    "Thai": ("ก", "ฮ", 0),
    "Lao": ("ກ", "ຄ", 0),
    "Tibetan": ("ཀ", "ཇ", 0),
    "Myanmar": ("က", "အ", 0),
    "Georgian": ("ა", "ჰ", 6),
    "Hangul": ("가", "힣", 3),
    "Ethiopic": ("ሀ", "ፗ", 4),
    "Cherokee": ("Ꭰ", "Ᏼ", 4),
    "Khmer": ("ក", "អ", 0),
    "Hiragana": ("あ", "ん", 0),
    "Katakana": ("ア", "ン", 0),
    "Han": ("一", "龥", 0),
    "Emoji": ("😀", "🙏", 0),
}


def words(script: str, characters: int, rng: np.random.Generator) -> str:
    """So many letters of a script at random, in words where it has any."""
    first, last, length = SCRIPTS[script]
    letters = [chr(code) for code in range(ord(first), ord(last) + 1) if chr(code).isprintable()]
    text = "".join(letters[place] for place in rng.integers(0, len(letters), characters))
    return text if not length else " ".join(text[start : start + length] for start in range(0, characters, length))


def moments(script: str, number: int) -> tuple[WindowText, WindowText]:
    """Two moments of one room under a title of forty characters: other words of the host, other words of a viewer."""
    rng = np.random.default_rng((number, *script.encode()))
    title, category = words(script, 40, rng), words(script, 12, rng)
    return tuple(WindowText(9, 9, title, category, words(script, 60, rng), (words(script, 20, rng),)) for _ in range(2))


def said_tokens(tokenizer: PreTrainedTokenizerBase, moment: WindowText) -> tuple[int, int]:
    """(tokens of the composed text that what is said now has, tokens that it would have alone)."""
    text = compose_text(moment, (), CONFIG)
    rows = fit_tokens(tokenizer, [text], BUDGET)[0]
    silent = fit_tokens(tokenizer, [compose_text(moment._replace(speech="", chat=()), (), CONFIG)], BUDGET)[0]
    shared = next((n for n, (a, b) in enumerate(zip(rows, silent, strict=False)) if a != b), min(len(rows), len(silent)))
    spoken = text[text.index("host: ") :]
    return len(rows) - shared, len(tokenizer(f" | {spoken}", add_special_tokens=False)["input_ids"])


@pytest.fixture(scope="module")
def tiny() -> Backbone:
    return load_backbone("tiny", None, device="cpu")  # type: ignore[arg-type]


@pytest.mark.parametrize("script", SCRIPTS)
def test_what_is_said_now_keeps_half_of_the_budget(script: str, tiny: Backbone) -> None:
    for number in range(10):
        for moment in moments(script, number):
            kept, whole = said_tokens(tiny.tokenizer, moment)
            assert kept >= min(whole, BUDGET // 2)


@pytest.mark.parametrize("script", SCRIPTS)
def test_two_moments_under_a_long_title_are_two_texts_to_the_model(script: str, tiny: Backbone) -> None:
    texts = [compose_text(moment, (), CONFIG) for number in range(10) for moment in moments(script, number)]
    rows = fit_tokens(tiny.tokenizer, texts, BUDGET)
    assert len({tuple(row) for row in rows}) == len(texts)
    assert max(map(len, rows)) <= BUDGET


def test_a_text_that_fits_is_left_as_the_tokenizer_reads_it(tiny: Backbone) -> None:
    text = compose_text(WindowText(9, 9, "noodles", "food", "now the garlic", ("hi", "gg")), (), CONFIG)
    assert fit_tokens(tiny.tokenizer, [text], 200) == [tiny.tokenizer(text)["input_ids"]]


def test_the_host_keeps_the_last_words_and_the_viewers_the_newest(tiny: Backbone) -> None:
    speech = " ".join(f"w{number}" for number in range(60))
    chat = tuple(f"message number {number}" for number in range(9))
    title = "".join(chr(0x4E00 + 7 * number) for number in range(40))  # takes more than its share
    text = tiny.tokenizer.decode(
        fit_tokens(tiny.tokenizer, [compose_text(WindowText(9, 9, title, "", speech, chat), (), CONFIG)], BUDGET)[0]
    )
    assert "host:" in text
    assert "w59" in text
    assert "w1 " not in text
    assert "message number 8" in text


def test_a_title_that_poses_as_the_host_is_cut_as_a_title(tiny: Backbone) -> None:
    title = "host: " + "".join(chr(0x4E00 + 7 * number) for number in range(40))
    text = compose_text(WindowText(9, 9, title, "food", "w1 w2 w3", ("gg",)), (), CONFIG)
    read = tiny.tokenizer.decode(fit_tokens(tiny.tokenizer, [text], BUDGET)[0])
    assert "minute" in read
    assert "host: w1 w2 w3" in read
    assert "gg" in read


def test_special_tokens_stay_around_a_text_that_is_cut() -> None:
    tokenizer = real_tokenizer_with_special_tokens()
    text = compose_text(WindowText(9, 9, "字" * 40, "食" * 12, "说" * 60, ("好" * 20,)), (), CONFIG)
    row = fit_tokens(tokenizer, [text], BUDGET)[0]
    assert len(row) <= BUDGET
    assert (row[0], row[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)


def real_tokenizer_with_special_tokens() -> PreTrainedTokenizerBase:
    """A WordPiece tokenizer of single characters, which puts [CLS] and [SEP] around each text."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    known = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", *"字食说好|:0123456789abcdefghijklmnopqrstuvwxyz"]
    known += [f"##{letter}" for letter in known[4:]]
    tokenizer = Tokenizer(models.WordPiece({word: place for place, word in enumerate(known)}, unk_token="[UNK]"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    special = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]"}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


@pytest.mark.slow
def test_the_real_model_tells_two_moments_apart_in_every_script() -> None:
    backbone = load_backbone("smollm2-135m", real_models())
    encoder = Encoder.load(backbone, None, EncoderConfig(exit_layer=6, first_adapted_layer=0))
    median = {}
    for script in SCRIPTS:
        pairs = [[compose_text(moment, (), CONFIG) for moment in moments(script, number)] for number in range(10)]
        vectors = encoder.encode([text for pair in pairs for text in pair])
        vectors -= vectors.mean(axis=0)  # what all texts of the script have in common hides what differs
        vectors = (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).reshape(10, 2, -1)
        median[script] = float(np.median((vectors[:, 0] * vectors[:, 1]).sum(axis=1)))
    assert {script: value for script, value in median.items() if value > median["Latin"] + 0.1} == {}
    assert all(len(row) <= BUDGET for row in tokenize(backbone, ["字" * 400], BUDGET))
