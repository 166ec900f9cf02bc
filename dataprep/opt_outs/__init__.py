"""`corpus opt-outs`: ask the sites of a corpus again whether their pages may be trained on."""
