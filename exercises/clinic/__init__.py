"""The clinic: small trainings with one bug each, to be found by what they show.

| File | What |
|---|---|
| `patient.py` | a training in health: each of its methods is one thing that can be sick |
| `inside.py`, `outside.py` | the sick ones: a bug in the model; a bug around it |
| `cases.py` | the patients by number, what their owner says, and all diagnoses |
| `examination.py` | a training with everything measured that an engineer would measure |
| `findings.py` | the examinations of a trained model, as numbers |
| `curves.json` | what three seeds of each patient and of a healthy one show |
| `record.py` | makes curves.json |
| `desk.py` | what has been seen of whom, and whose bug has been found |
| `sheet.py`, `picture.py` | what the learner sees |
"""
