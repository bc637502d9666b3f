"""Looking inside a trained model, and changing what is there.

    reading    hooks.py               how is any activation recorded by its name in the code?
               logit_lens.py          what would the model say if it stopped at this layer?
               attribution.py         which head, which layer wrote this logit?
               attention_patterns.py  what kind of place does a head look at?
               induction.py           does a head find how the text went on last time?
               copying_heads.py       does a head write the token that it looks at?
               songs.py               does the model copy a song that it has read?
    changing   patching.py            which activation, moved into another run, moves the answer?
               ablation.py            what does the model lose without this part?
    asking     prompts.py             which text shows what one is looking for?
               questions.py           what do the five questions of commands/interpret.py find?
               report.py              how are the answers printed, drawn and written as JSON?

Reading shows what correlates with an answer; only changing shows what causes it. And the two
ways of changing answer two questions. *Patching* an activation of a run that works into one
that does not asks whether it is **sufficient** to bring the answer back. *Ablating* it asks
whether it is **necessary**. A part can be either without the other: a backup that takes over
makes a sufficient part unnecessary, and a part that everything passes through is necessary
without carrying the answer.
"""
