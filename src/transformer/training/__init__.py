"""Training, from the command line to the last checkpoint.

| File | The question it answers |
|---|---|
| `config.py` | Which flags are there, and which belong together? |
| `flags.py` | What did the command line ask for: a new run, or which one to resume? |
| `start.py` | What surrounds a run: which folder, machine, data and model do the flags mean? |
| `resume.py` | Where does it begin: at step 0, or at a checkpoint? |
| `new_run.py` | How does a new run begin so that nothing of an older one is lost too early? |
| `memory.py` | Can this training fit into memory at all? |
| `data_sources.py` | Which data set do the flags mean? |
| `fine_tuning.py` | What does a run take over from the model that it begins with? |
| `forgetting.py` | What has fine-tuning taught, and what was forgotten for it? |
| `filming.py` | When is a frame of the film taken? |
| `trainer.py` | What happens from step to step? |
| `optimizer.py` | How do gradients move the weights? |
| `scheduler.py` | How large is the learning rate at each step? |
| `mine.py` | How does what a learner wrote become a part of training? |
| `mine_folder.py` | Which of a learner's files have been judged, and which train? |
| `parallel.py` | How do several processes train one model? |

Gradient accumulation and the reading of curves are one folder up: training_utils.py.
"""
