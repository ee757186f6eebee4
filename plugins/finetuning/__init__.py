"""What of pre-trained networks learns on an imbalanced set: a head, adapters, several, or all."""
