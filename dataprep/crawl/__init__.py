"""From links to WARC: a polite, restartable crawler that cannot be turned inward."""
