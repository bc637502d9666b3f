"""Toy stories: an endless text whose grammar, and so whose best possible loss, is known.

| File | The question it answers |
|---|---|
| `words.py` | Which words and sentences are the stories made of? |
| `grammar.py` | How probable is a text, exactly? |
| `stories.py` | What is the grammar of a story, and which stories are held out? |
| `kinds.py` | Which characters of a story are a name again, a sum, a pronoun, a copied song? |
| `source.py` | How do stories become batches, and what is their floor? |
"""
