"""The crawler: polite, restartable, and impossible to turn inward.

Read `fetch.py` for the stage, `sites.py` for who is asked when, `visit.py` for one target, `client.py` for
one request, `warc.py` and `journal.py` for what is left on disk.
"""
