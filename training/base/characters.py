"""Which characters are Chinese and which are Latin: one definition for filters, scores and the page."""

from __future__ import annotations

import re

# 〇, which Unicode counts among punctuation; extension A; the unified ideographs; compatibility ideographs; extensions B to H. The
# hexagrams U+4DC0 to U+4DFF, between extension A and the unified ideographs, are symbols.
HAN = re.compile("[\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af]")

HAN_RUN, LATIN_RUN = re.compile(f"{HAN.pattern}+"), re.compile("[A-Za-z\u00c0-\u024f]+")

LETTER = re.compile(r"[^\W_]")  # a letter of any script, or a digit
