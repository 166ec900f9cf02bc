"""Dumps -> links -> pages -> documents -> verdicts -> text shards -> token shards.

`steps` lists the steps of a corpus in order, and `store.step` does one; `ingest` brings an increment through
them. A folder is a step or a group of them: `links`, `crawl` or `imports`, `extract`, `score`, `selection`,
`decontaminate`, `shards`; `pack` has a list of its own. `audit` reads what the steps left, `redact` and
`forget` change it. Below all of them: `corpus` (the directory and its recipe), `warc`, `text` (functions of
one text) and `store` (files, records, processes).
"""
