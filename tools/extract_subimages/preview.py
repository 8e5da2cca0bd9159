"""What a run would cut, or where it cut: the counts of a dry run and the contact sheet of `--preview`."""
