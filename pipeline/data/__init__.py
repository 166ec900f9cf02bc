"""From token shards to micro-batches. The way of a token, from the shard to the loss:

`token_stream` maps the shards of one pinned generation: position in the stream -> token.
`order` shuffles: sample number -> sequence of the stream, a permutation for each epoch.
`mixture` deals samples out to several corpora in fixed shares; `sources` is a run's corpora behind one call.
`skipped` leaves ranges of samples out, after a loss spike.
`loader` gives each rank its samples as micro-batches of tensors; `prefetch` reads them ahead in a thread.
`streaming` replaces mapping and order where shards are read over a network, one after another.
"""
