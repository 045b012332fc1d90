"""Token ids of segment texts within a budget that is shared out in tokens.

A text of `segment_text.compose_text` is a row of parts: title, category, minute, host, chat, before. A title of forty Chinese
characters takes more tokens than all that is said under an English one; a cut at the end would take the moment away. So where
a cut at the end would leave what is said now less than half of the budget, the text is cut part by part: title and category
to their shares, then the host's words to the last ones and the viewers' to the newest ones that fit. The words of earlier
windows have what is left. Training and serving tokenize through `fit_tokens` alone, so both cut alike.
"""

import re
from collections.abc import Sequence
from itertools import chain

from transformers import PreTrainedTokenizerBase

SEPARATOR = " | "
HOST, CHAT, BEFORE = "host: ", "chat: ", "before: "
TITLE_SHARE, CATEGORY_SHARE = 5, 10  # the budget divided by this is what the part may take
HOST_TENTHS = 6  # of what host and viewers have together, where both say more than fits
SAID_SHARE = 2  # the budget divided by this is what the words of the present window keep at least, if there are so many

_MINUTE = re.compile(r"minute \d+")

Tokens = list[int]


def fit_tokens(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], budget: int) -> list[Tokens]:
    """Token ids of each text, at most `budget` with the tokenizer's special tokens.

    Viewers write what they like: a control token spelled out in a text (`<|im_end|>`) is read as those characters.
    """
    if not texts:
        return []
    rows: list[Tokens] = tokenizer(list(texts), truncation=True, max_length=budget, split_special_tokens=True)["input_ids"]
    full = [row for row, ids in enumerate(rows) if len(ids) >= budget and SEPARATOR in texts[row]]
    if not full:
        return rows
    parts = [texts[row].split(SEPARATOR) for row in full]
    pieces = [part if place == 0 else SEPARATOR + part for of_text in parts for place, part in enumerate(of_text)]
    tokens = iter(tokenizer(pieces, add_special_tokens=False, split_special_tokens=True)["input_ids"])
    before, after = special_tokens(tokenizer)
    label = len(tokenizer(SEPARATOR + HOST.strip(), add_special_tokens=False)["input_ids"])
    for row, names in zip(full, parts, strict=True):
        ids = share_out(names, [next(tokens) for _ in names], label, budget - len(before) - len(after))
        if ids is not None:
            rows[row] = [*before, *ids, *after]
    return rows


def share_out(parts: Sequence[str], tokens: Sequence[Tokens], label: int, budget: int) -> Tokens | None:
    """The parts' tokens within the budget; None where a cut at the end leaves enough.

    Args:
        parts: of one text, in its order.
        tokens: of each part, its separator included.
        label: tokens with which the host's part begins, the separator and its name.
    """
    minute = next((place for place, part in enumerate(parts) if _MINUTE.fullmatch(part)), 0)  # a title may pose as a host
    later = list(enumerate(parts))[minute:]
    first_before = next((place for place, part in later if part.startswith(BEFORE)), len(parts))
    first_said = next((place for place, part in later if part.startswith((HOST, CHAT))), first_before)
    said = dict(zip((part[:4] for part in parts[first_said:first_before]), tokens[first_said:first_before], strict=True))
    wanted = min(sum(map(len, said.values())), budget // SAID_SHARE)
    if budget - sum(map(len, tokens[:first_said])) >= wanted:
        return None
    head = _head(parts[:first_said], tokens[:first_said], budget)
    left = max(0, budget - sum(map(len, head)))
    host, chat = said.get(HOST[:4], []), said.get(CHAT[:4], [])
    host_share = max(left * HOST_TENTHS // 10, left - len(chat))
    host = _last(host, host_share, label)
    chat = chat[: left - len(host)]
    return [*chain.from_iterable(head), *host, *chat, *chain.from_iterable(tokens[first_before:])][:budget]


def _head(parts: Sequence[str], tokens: Sequence[Tokens], budget: int) -> list[Tokens]:
    """Title and category cut to their shares; the minute and the age of the last words as they are, for they are short."""
    named = next((place for place, part in enumerate(parts) if _MINUTE.fullmatch(part)), len(parts))
    shares = [budget // TITLE_SHARE, budget // CATEGORY_SHARE]
    return [ids[: shares[min(place, 1)]] if place < named else ids for place, ids in enumerate(tokens)]


def _last(ids: Tokens, count: int, label: int) -> Tokens:
    """The label and the last tokens, `count` in all."""
    return ids if len(ids) <= count else [*ids[:label], *ids[len(ids) - max(0, count - label) :]][:count]


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[Tokens, Tokens]:
    """The tokens that the tokenizer puts before and after a text."""
    plain: Tokens = tokenizer("a", add_special_tokens=False)["input_ids"]
    whole: Tokens = tokenizer("a")["input_ids"]
    start = next(place for place in range(len(whole)) if whole[place : place + len(plain)] == plain)
    return whole[:start], whole[start + len(plain) :]
