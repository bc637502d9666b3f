"""Other people's models, one file for each way of building them, read and written.

| File | Models |
|---|---|
| `family.py` | What a family has to say; which tensors of theirs make which of ours |
| `known.py` | Which family is a published model of, and which can one of ours be written as? |
| `gpt2.py` | GPT-2: learned positions, LayerNorm, GELU |
| `llama.py` | Llama, Qwen3, nanochat: rotary positions, RMS norm |

Each is two tables, names of fields and names of tensors, and what has no equal.
"""
