"""Your own text as training data.

| File | The question it answers |
|---|---|
| `files.py` | Which documents are in these files, and how do they become batches? |
| `split.py` | Which documents train, and which validate? |
| `token_cache.py` | How are the tokens kept, so that a text is tokenised once? |
"""
