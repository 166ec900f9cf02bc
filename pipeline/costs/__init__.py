"""What a model costs: operations, bytes and seconds of each layer, and which stage holds which. Pure."""
