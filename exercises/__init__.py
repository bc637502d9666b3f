"""Write it yourself: every component as an exercise with a judge. See commands/exercise.py.

| Where | What |
|---|---|
| `contents.py` | the list of the exercises, in reading order |
| `NAME/` | one exercise: solution, judge, hints |
| `judging/` | what all judges share |
| `judging/check.py` | how a result is compared, and a mistake named |
| `judging/guard.py` | what is watched while a learner's code runs |
| `judging/modules.py` | what is asked of every module: weights, gradient, no look ahead |
| `judging/inside.py` | a learner's part inside the whole model |
| `judging/ladder.py` | the same inside a model of the ladder |
| `judging/judge.py` | one file against its judge, stage by stage |
| `judging/process.py` | the same in a process of its own, with a limit |
| `judging/skeleton.py` | the file that a learner starts from |
| `judging/show.py` | what the learner sees of it |
| `clinic/` | trainings with one bug each, to be found by what they show |
"""
