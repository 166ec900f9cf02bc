"""The GPTs: plain torch modules."""
