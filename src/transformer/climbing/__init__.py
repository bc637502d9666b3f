"""The ladder measured: what is each rung worth on this machine?

| File | The question it answers |
|---|---|
| `study.py` | Which trainings make a measurement, and with which flags? |
| `trainings.py` | How are they run so that a measurement can be stopped and continued? |
| `rates.py` | Which learning rate suits each rung, found with equal effort? |
| `speed.py` | How long does a step of each rung take, when they take turns? |
| `summary.py` | What do the rows say: loss, tokens and time to the classic's loss? |
| `picture.py` | How does it look? |
"""
