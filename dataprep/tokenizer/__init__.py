"""Tokenizers: training, loading, and the files of GPT-1, GPT-2 and Hugging Face."""
