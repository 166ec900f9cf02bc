"""Step `links`: from dumps of submissions to the URLs that enter.

`dumps` reads the submissions. `rules` says which link one submission gives, or why it gives none. `karma`
adds up the votes of a URL's submissions and lets it enter at the bar. `index` keeps the URLs that are known.
`stage` leads them.
"""
