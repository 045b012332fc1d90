"""A two-layer Llama for tests, built on the spot.

It is the backbone of the profile tiny: model and tokenizer are the same on every machine.
"""

import hashlib

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import LlamaConfig, LlamaModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")

SAMPLE_TEXTS = (
    "minute 10 | host: welcome back everyone, today we cook noodles with garlic, chili oil and egg | chat: 666 x12 / yum",
    "minute 3 | host: push the left lane, take the dragon, one more fight and we win the game | chat: gg / clutch / lol x4",
    "minute 25 | host: this song is for you, the guitar is out of tune, sing the chorus with me | chat: encore / so good",
    "minute 40 | host: three sets of squats, keep your back straight, breathe, drink some water | chat: tired / burning / nice",
    "minute 1 | host: this lipstick comes in six shades, free shipping tonight, link below, limited stock | chat: price? / buy",
    "minute 60 | host: the train crosses the mountain at night, look at the lake and the temple | chat: where is this / wow",
    "quiet for 3 minutes | chat: hello / hi from spain / where are you from / first time here / follow me",
    "the quick brown fox jumps over the lazy dog, 0123456789, AaBbCcDdEeFfGgHhIiJjKkLlMmNnOoPpQqRrSsTtUuVvWwXxYyZz",
)


def make_tiny_backbone(
    seed: int = 17, texts: tuple[str, ...] = SAMPLE_TEXTS, hidden: int = 64, layers: int = 2, vocabulary: int = 768
) -> tuple[nn.Module, PreTrainedTokenizerBase, str]:
    """(model, tokenizer, SHA-256 of both).

    The weights are random from `seed`; the tokenizer is a byte-level BPE trained on `texts`.
    """
    tokenizer = _train_tokenizer(texts, vocabulary)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        pad_token_id=tokenizer.pad_token_id,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaModel._from_config(config, attn_implementation="sdpa")
    digest = hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode())
    for name, weight in sorted(model.state_dict().items()):
        digest.update(name.encode() + weight.numpy().tobytes())
    return model, tokenizer, digest.hexdigest()


def _train_tokenizer(texts: tuple[str, ...], vocabulary: int) -> PreTrainedTokenizerBase:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    end, begin, pad = SPECIAL_TOKENS
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=end, bos_token=begin, eos_token=pad, pad_token=pad)
