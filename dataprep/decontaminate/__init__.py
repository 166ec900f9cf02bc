"""Step `decontaminate`: kept documents lose what they share with evaluation sets."""
