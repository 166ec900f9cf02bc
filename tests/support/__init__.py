"""What tests share: commands, corpora, runs, ranks, servers and workers that misbehave.

Corpora, the least finished first: `ready_corpus` has documents and no build, `packed_corpus` has a build and
token shards, `whole_corpus` has all that the commands make, from dumps on. `runs` makes runs of training.
"""
