"""English function words: what the stop-word filter of LAMBADA leaves out (GPT-2, section 3.3).

OpenAI published no list. This one holds the closed classes of English grammars (Quirk et al. 1985, section
2.39): determiners, pronouns, prepositions, conjunctions, auxiliary verbs, and the commonest adverbs without a
meaning of their own.
"""

from __future__ import annotations

VERSION = 1
"""Goes up with each change of the list: results of two versions cannot be compared."""

FUNCTION_WORDS = frozenset(
    """
    a an the this that these those each every either neither some any no none all both half enough such
    what whatever which whichever whose who whom whoever
    i me my mine myself we us our ours ourselves you your yours yourself yourselves he him his himself she her
    hers herself it its itself they them their theirs themselves one oneself other another others
    someone somebody something anyone anybody anything everyone everybody everything nobody nothing
    about above across after against along among around as at before behind below beneath beside besides
    between beyond but by despite down during except for from in inside into like near of off on onto out
    outside over past per since than through throughout till to toward towards under until up upon via with
    within without and or nor so yet if unless because although though while whereas whether when whenever
    where wherever why how be am is are was were been being have has had having do does did doing done
    can could may might must shall should will would ought
    not n't then there here now just only also too very even still again ever never always once more most less
    least much many few several own same rather quite almost perhaps however
    s t d m ll re ve
    """.split()
)


def begins_content_word(token: str) -> bool:
    """Whether a token's text begins a new word that is no function word.

    >>> [begins_content_word(token) for token in (" dog", " The", "ly", ".", " \\u201c")]
    [True, False, False, False, False]
    """
    return token[:1].isspace() and token[1:2].isalnum() and token.strip().lower() not in FUNCTION_WORDS
