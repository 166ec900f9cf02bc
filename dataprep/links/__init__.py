"""Stage `links`: from dumps of submissions to the URLs that enter."""
