"""Text from a trained model, and the model in Hugging Face's format."""
