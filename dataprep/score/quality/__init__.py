"""GPT-3's quality classifier: hashed words, logistic regression, one number a document."""
