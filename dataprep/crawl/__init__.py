"""The crawler: polite, restartable, and impossible to turn inward.

Read `rounds.py` for the step, `partition.py` for one partition of it, `sites.py` for who is asked when,
`visit.py` for one target, `client.py` for one request, `warc_writer.py` and `journal.py` for the files.
"""
