"""How good is a model, and at what?

| File | The question it answers |
|---|---|
| `validation.py` | What is the loss on text that training never sees, between two steps? |
| `perplexity.py` | How surprised is a trained model by a text, also per byte? |
| `multiple_choice.py` | Which continuation does a model find likelier, and is it the right one? |
| `diversity.py` | Does a model repeat itself, and does it believe what it writes? |
"""
