"""datasketch: word 5-grams by white space, 140 permutations, 20 bands of 7 rows; what hits is dropped.

python datasketch_lsh.py DOCUMENTS KEPT
"""

from __future__ import annotations

from contender import texts, timed
from datasketch import MinHash, MinHashLSH


def work() -> list[int]:
    """Keep what shares no band with a document that is kept."""
    index = MinHashLSH(num_perm=140, params=(20, 7))
    kept = []
    for number, text in enumerate(texts()):
        words = text.lower().split()
        sketch = MinHash(num_perm=140)
        sketch.update_batch({" ".join(words[n : n + 5]).encode() for n in range(len(words) - 4)})
        if not index.query(sketch):
            index.insert(number, sketch, check_duplication=False)
            kept.append(number)
    return kept


timed(work)
