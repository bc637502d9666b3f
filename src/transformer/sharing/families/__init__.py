"""Other people's models, one file for each way of building them, read and written.

| File | The question it answers |
|---|---|
| `family.py` | What does a family have to say, and how do their tensors become ours? |
| `known.py` | Which family is a published model of, and which can one of ours be written as? |
| `gpt2.py` | What is a GPT-2 (learned positions, LayerNorm, GELU)? |
| `llama.py` | What are Llama, Qwen3 and nanochat (rotary positions, RMS norm)? |

Each is two tables, names of fields and names of tensors, and what has no equal.
"""
