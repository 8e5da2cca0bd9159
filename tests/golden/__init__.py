"""Numbers that the original implementations produced, and the checks that run this project's code on them."""
