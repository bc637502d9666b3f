"""A decoder-only transformer, written by hand: read it, train it, open it up.

| Step | File | The question it answers |
|---|---|---|
| 0 | `config.py` | How large is the model, and what do the letters of shapes mean? |
| 1 | `token_embedding.py` | What vector does a token become? |
| 1 | `positional_encoding.py` | How does the model know where a token is? |
| 2, 3 | `attention.py` | How does a position read from those before it? |
| 4 | `feed_forward.py` | What does it compute from what it has read? |
| 5 | `block.py` | How are the two joined? |
| 6 | `model.py` | How do blocks become a language model? |
| 6 | `loss.py` | How wrong is it? |
| | `parts.py` | What is built in each place? |
| 7 | `training_utils.py` | How do small batches make one step, and how is the run going? |
| 7 | `fineweb_dataset.py` | How does web text reach the model, and continue where it stopped? |
| 8 | `generation.py` | How does it write? |
| 8 | `sampling.py` | Which token comes next? |
| 8 | `kv_cache.py` | What need not be computed again? |
| | `errors.py` | What is a person told when something is wrong? |

Everything else has a room: `data/`, `training/`, `runs/`, `evaluation/`, `interpretability/`,
`ladder/`, `climbing/`, `terminal/`, `sharing/` and `machine/`. Each opens with a table like this.
"""
