"""Several domains or groups: draws, losses and regularisers that tell them apart."""
