"""Opening a file as an explained model."""


def open_explained(path, device="cpu"):
    """Return the Explained of a file on a device. Raises InputError for a missing, damaged or foreign file."""
    from common.explained.classifier import Classifier
    from common.networks.decision import open_decision_model

    return Classifier(open_decision_model(path, device), path)
