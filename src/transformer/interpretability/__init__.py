"""Looking inside a trained model, and changing what is there.

    reading    hooks.py               record any activation by its name in the code
               logit_lens.py          what would the model say if it stopped at this layer?
               attribution.py         which head, which layer wrote this logit?
               attention_patterns.py  what kind of place does a head look at?
               induction.py           does a head find how the text went on last time?
               copying_heads.py       does a head write the token that it looks at?
    changing   patching.py            which activation, moved into another run, moves the answer?
               ablation.py            what does the model lose without this part?
    material   songs.py               text in which something is said twice
               prompts.py             pairs of prompts that differ in one thing
    asking     questions.py           how are these put as one question, with its numbers?
               report.py              how is the answer printed and drawn?

Reading shows what correlates with an answer; only changing shows what causes it. And the two
ways of changing answer two questions. *Patching* an activation of a run that works into one
that does not asks whether it is **sufficient** to bring the answer back. *Ablating* it asks
whether it is **necessary**. A part can be either without the other: a backup that takes over
makes a sufficient part unnecessary, and a part that everything passes through is necessary
without carrying the answer.
"""
