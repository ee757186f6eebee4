"""Several labels a row: weights, priors and draws by label, and losses of absent ones."""
