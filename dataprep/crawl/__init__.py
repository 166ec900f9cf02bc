"""The crawler: polite, restartable, and impossible to turn inward.

Read `stage.py` for the stage, `fetch.py` for one partition of it, `sites.py` for who is asked when,
`visit.py` for one target, `client.py` for one request, `warc.py` and `journal.py` for what is left on disk.
"""
