"""The ladder from 2017 to 2026: what changed in the transformer since, most of it in small files.

| File | The question it answers |
|---|---|
| `rungs.py` | What changes from one rung to the next? |
| `build.py` | Which parts does a configuration mean? |
| `describe.py` | What is this model, in one line? |
| `learned_positions.py` | What if each place has a vector that is learned? |
| `rotary.py` | What if positions are angles between queries and keys? |
| `rms_norm.py` | What does a norm need? |
| `zero_init.py` | What if a block starts by doing nothing? |
| `feed_forward.py` | What may a neuron make of its sum? |
| `qk_norm.py` | What if queries and keys have a fixed size? |
| `output.py` | What if the output has a table of its own, or bounded logits? |
| `block.py` | What if a block can look back at the embedding? |
| `value_embeddings.py` | What if values are looked up as well as computed? |
| `grouped_heads.py` | What if heads share keys and values? |
| `window.py` | What if a query sees only the last positions? |
| `muon.py` | What if a matrix moves in all directions equally fast? |
| `own_rates.py` | Which weights learn at another rate than the rest? |
| `attention.py` | How do these changes of attention work together? |
"""

from transformer.ladder.build import build_model

__all__ = ["build_model"]
