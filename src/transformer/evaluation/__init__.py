"""How good is a model?

validation.py       What is its loss on held-out text while it trains?
perplexity.py       Loss, perplexity and bits per byte of any text, with how much context?
multiple_choice.py  Does it find the last word of a text, or the right one of several answers?
diversity.py        How varied is what it writes under each way of sampling?
"""
