"""Characters of scripts, for the classes of regular expressions."""

import unicodedata

# Ranges of the scripts that have no spaces between words: Thai, Lao, Burmese, Khmer, Japanese, Chinese.
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
# Vowel signs and other combining marks: without them words of Hindi, Tamil or Arabic fall apart, as `\w` has none.
COMBINING_MARKS = "".join(letter for letter in map(chr, range(0x10000)) if unicodedata.category(letter) in ("Mn", "Mc"))
VARIATION_SELECTORS = "\ufe00-\ufe0f"  # marks that choose how an emoji is drawn
