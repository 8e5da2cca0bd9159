"""Train the classifier of attributes that counterfactuals explain."""
