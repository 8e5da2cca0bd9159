"""Training of EDM-preconditioned ADM networks on own images."""
