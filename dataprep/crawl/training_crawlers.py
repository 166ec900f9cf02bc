"""Crawlers that gather training data, by the name (product token) that robots.txt has for them.

A recipe that sets `collect.crawl.training_crawlers: 1` takes a site's no to one of these as a no to training
by anybody. A version never changes, so that the rules of a corpus do not: another crawler comes with the next
version, and one that has ceased stays. Sources: what the operators say of their crawlers, and
github.com/ai-robots-txt/ai.robots.txt (August 2026) where they say nothing. Crawlers that only search
(OAI-SearchBot) or answer a user's question (ChatGPT-User) are none.
"""

from __future__ import annotations

CRAWLERS: dict[str, tuple[int, str]] = {
    "AI2Bot": (1, "https://allenai.org/crawler"),
    "Ai2Bot-Dolma": (1, "https://allenai.org/crawler"),
    "Amazonbot": (1, "https://developer.amazon.com/amazonbot"),
    "anthropic-ai": (1, "https://github.com/ai-robots-txt/ai.robots.txt"),
    "Applebot-Extended": (1, "https://support.apple.com/en-us/119829"),
    "Bytespider": (1, "https://github.com/ai-robots-txt/ai.robots.txt"),
    "CCBot": (1, "https://commoncrawl.org/ccbot"),
    "ClaudeBot": (1, "https://support.anthropic.com/en/articles/8896518"),
    "cohere-ai": (1, "https://github.com/ai-robots-txt/ai.robots.txt"),
    "cohere-training-data-crawler": (1, "https://github.com/ai-robots-txt/ai.robots.txt"),
    "DeepSeekBot": (1, "https://github.com/ai-robots-txt/ai.robots.txt"),
    "FacebookBot": (1, "https://developers.facebook.com/docs/sharing/bot/"),
    "Google-Extended": (
        1,
        "https://developers.google.com/search/docs/crawling-indexing/google-common-crawlers",
    ),
    "GPTBot": (1, "https://platform.openai.com/docs/bots"),
    "meta-externalagent": (1, "https://developers.facebook.com/docs/sharing/webmasters/web-crawlers"),
    "PanguBot": (1, "https://github.com/ai-robots-txt/ai.robots.txt"),
    "TikTokSpider": (1, "https://github.com/ai-robots-txt/ai.robots.txt"),
    "Timpibot": (1, "https://github.com/ai-robots-txt/ai.robots.txt"),
    "Webzio-Extended": (1, "https://github.com/ai-robots-txt/ai.robots.txt"),
}
"""Name -> the version of the list that it came with, and the source."""

LATEST = max(since for since, _ in CRAWLERS.values())


def names(version: int | None) -> list[str]:
    """The crawlers of a version of the list; of None, none.

    >>> "GPTBot" in names(1), names(None)
    (True, [])
    """
    return [name for name, (since, _) in CRAWLERS.items() if version is not None and since <= version]
