"""rensa: word 5-grams by white space, 140 permutations, 20 bands of 7 rows; what hits is dropped.

python rensa_lsh.py DOCUMENTS KEPT
"""

from __future__ import annotations

from contender import texts, timed
from rensa import RMinHash, RMinHashLSH


def work() -> list[int]:
    """Keep what shares no band with a document that is kept."""
    index = RMinHashLSH(0.8, 140, 20)
    kept = []
    for number, text in enumerate(texts()):
        words = text.lower().split()
        sketch = RMinHash(140, 1)
        sketch.update([" ".join(words[n : n + 5]) for n in range(len(words) - 4)])
        if not index.query(sketch):
            index.insert(number, sketch)
            kept.append(number)
    return kept


timed(work)
