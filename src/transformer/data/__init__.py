"""What the data sets share: tokenizers, packing, batches, caches, readers."""
