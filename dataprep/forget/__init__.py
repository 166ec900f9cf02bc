"""`corpus forget`: remove a URL, a site or a submission from every layer of a corpus, and keep it out."""
