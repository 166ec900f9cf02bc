"""Tokens: the tokenizer, and the shards that training reads."""
