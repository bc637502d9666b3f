"""The machine underneath: what differs from one computer to the next, and what can go wrong there.

| File | The question it answers |
|---|---|
| `device.py` | Which device, which precision, compiled or not? |
| `fast_paths.py` | What has a faster twin, and when is it taken? |
| `decoding.py` | What does one more token cost without modules around it? |
| `int8.py` | What if a weight has eight bits? |
| `processes.py` | Which other processes train the same model? |
| `memory.py` | Does it fit? |
| `shapes.py` | How is a module built that is only looked at, or gets its values from a file? |
| `files.py` | How is a file written so that nobody ever finds half of it? |
| `saved_values.py` | How is a value read back that may be damaged or missing? |
| `interruptions.py` | What happens on Ctrl-C, on a closed terminal, when memory runs out? |
| `turns.py` | How are things timed so that they compare? |
| `bounds.py` | Which values may a flag have? |
"""
