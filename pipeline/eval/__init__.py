"""Evaluation of a trained model: a task sends requests to a language model and measures the answers.

    requests    each task runs over a model that only stores its requests                      no torch
    answers     the model answers the requests, part by part, in any number of processes
    results     each task runs again, over a model that looks the answers up                   no torch

So a task is one function (`engines/`) of its examples (`sets/`) and of a `LanguageModel`. Its requests must
not depend on the answers.
"""
