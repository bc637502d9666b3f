"""What a training leaves on disk, and how it is found and read again.

run_folder.py   What lies where in runs/NAME, and who may write there?
find.py         Which run, checkpoint or model file does a person mean?
model_file.py   How does a model travel in one file that is trusted with nothing?
checkpoint.py   What is saved so that a training can be resumed exactly?
metrics.py      What is written down after each step and each evaluation?
curves.py       How did training go, and how do several runs compare?
samples.py      What did the model write on the way?
"""
