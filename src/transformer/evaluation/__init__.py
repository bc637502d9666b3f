"""How good is a model, and at what?

validation.py       what is the loss on text that training never sees, between two steps?
perplexity.py       how surprised is a trained model by a text, also per byte?
multiple_choice.py  which continuation does a model find likelier, and is it the right one?
diversity.py        does a model repeat itself, and does it believe what it writes?
"""
