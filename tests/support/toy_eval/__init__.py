"""A task of the tests: its engine asks in every way there is, its set has the fields of HellaSwag."""
