"""Dumps -> links -> pages -> documents -> verdicts -> text shards -> token shards."""
