"""Looking inside a trained model, and changing what is there.

| | File | The question it answers |
|---|---|---|
| reading | `hooks.py` | How is any activation recorded by its name in the code? |
| | `logit_lens.py` | What would the model say if it stopped after this block? |
| | `attribution.py` | Which head, which sublayer wrote this logit? |
| | `attention_patterns.py` | What kind of place does a head look at? |
| | `induction.py` | Does a head find how the text continued last time? |
| | `circuit.py` | Which earlier head does the induction head lean on? |
| | `copying_heads.py` | Does a head write the token that it looks at? |
| | `songs.py` | Does the model copy a song that it has read? |
| changing | `patching.py` | Which activation, moved into another run, moves the answer? |
| | `ablation.py` | What does the model lose without this part? |
| asking | `prompts.py` | Which text shows what one is looking for? |
| | `questions.py` | What do the questions of commands/interpret.py find? |
| | `induction_question.py` | What does its question about induction heads find? |
| | `labels.py` | What is a token, a position, a head called in a table? |
| | `many_heads.py` | How are a hundred heads shown on one screen? |
| | `report.py` | How are the answers printed, drawn and written as JSON? |

Reading shows what correlates with an answer; only changing shows what causes it. And the two
ways of changing answer two questions. *Patching* an activation of a run that works into one
that does not asks whether it is **sufficient** to bring the answer back. *Ablating* it asks
whether it is **necessary**. A part can be either without the other: a backup that takes over
makes a sufficient part unnecessary, and a part that everything passes through is necessary
without carrying the answer.
"""
