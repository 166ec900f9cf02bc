"""`outbound pack`: text shards to token shards, and where each token comes from.

`tokenize` turns a text shard into sorted runs of tokens, `merge` makes token shards of the runs, `pack` does
both and publishes a generation, whose format is in `manifest`. `positions` finds a document in a stream.
`forget` erases documents from token shards, `verify` checks these.
"""
