"""Scripts that compare with peers which the tests do not need; each writes numbers or files that are stored here."""
