"""`outbound pack`: text shards to token shards, and where each token comes from."""
