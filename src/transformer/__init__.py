"""A decoder-only transformer, written by hand: read it, train it, open it up.

config.py               0     How large is the model, and what do the letters of shapes mean?
token_embedding.py      1     What vector does a token become?
positional_encoding.py  1     How does the model know where a token is?
attention.py            2, 3  How does a position read from those before it?
feed_forward.py         4     What does it compute from what it has read?
block.py                5     How are both joined?
model.py                6     How do blocks become a language model?
loss.py                 6     How wrong is it?
parts.py                      What is built in each place?
training_utils.py       7     How do small batches make one step; how is it going?
fineweb_dataset.py      7     How does web text reach the model, and go on where it stopped?
generation.py           8     How does it write?
sampling.py             8     Which token comes next?
kv_cache.py             8     What need not be computed again?
errors.py                     What is a person told?

data/  training/  runs/  evaluation/  interpretability/  terminal/  sharing/  machine/
"""
