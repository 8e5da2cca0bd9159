"""What TorchScript modules and torch.export programs raise when they are run."""

# What torch raises for shapes, types and devices that do not fit (a NotImplementedError is a RuntimeError).
FAILURES = (RuntimeError, IndexError, ValueError, TypeError)


def last_line(error):
    """Return the last line of an error's text, where torch says what is wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
