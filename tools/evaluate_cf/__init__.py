"""The numbers that tell a good counterfactual explanation from a fooled network."""
