"""From text to batches of token ids: what every data set shares, and a folder for each kind.

| File | The question it answers |
|---|---|
| `base_tokenizer.py` | What does every tokenizer do? |
| `byte_pair_tokenizer.py` | How does text become ids, and ids text? |
| `hf_tokenizer.py` | How do imported models cut their text? |
| `tokenizer.py` | Which tokenizer is meant? |
| `bpe.py` | Where does a tokenizer's table come from? |
| `packing.py` | How do documents become sequences of one length? |
| `batch.py` | What does a data set hand to the trainer, and what must it offer? |
| `toy/` | What is there to train on in minutes, with a best loss that is known? |
| `text/` | How do I train on my own files? |
| `fineweb/` | How does one train on more text than the disk can hold? |
"""
