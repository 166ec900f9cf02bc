"""Engines: each asks a language model the questions of some tasks, in the way of a paper or of lm-eval.

A module has one function, `evaluate(asked, model) -> list[Document]` (`pipeline.eval.documents`). The file of
a task names it by the module's name.
"""
