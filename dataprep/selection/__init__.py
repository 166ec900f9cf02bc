"""Selection: which documents of a corpus stay, by thresholds, then without those that repeat an earlier one.

The rule needs no clustering. A document that passed the thresholds is dropped if and only if an earlier such
document, kept or not, has the same text, or shares a band bucket with it (among that bucket's 64 earliest)
and an exact Jaccard similarity over word 5-grams of at least the recipe's threshold. Earlier is by
(increment, first_seen, url_key). Only the past decides, so that an incremental build keeps what a one-shot
build keeps. What a verdict names is the earliest document that a document repeats.

The way there: `partition` applies the `thresholds` and finds each document's buckets, `corpus_order` puts the
increment in corpus order, `candidates` finds who meets whom, `exact_duplicates` puts the exact copies in
order, `shingles` reads the texts of the others once, `near_duplicates` decides, `verdicts` writes it down.
"""
