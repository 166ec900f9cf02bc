"""Evaluation of a trained model: a task asks a language model, and its answers are measured.

    requests    each task runs once over a model that only notes what it is asked    no torch
    answers     the model answers the notes, part by part, in any number of processes
    results     each task runs once more over a model that looks the answers up

So a task is one function (`engines/`) of its examples (`sets/`) and of a `LanguageModel`. Its
questions must not depend on the answers.
"""
