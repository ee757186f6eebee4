"""A long tail spread over clients: losses, heads and aggregations of federated learning."""
