"""EDM and DMD2 on class-conditional networks: sampling, labels and the training loss, as functions of tensors."""
