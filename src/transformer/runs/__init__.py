"""A run's folder: what training writes into it, and how it is found and read again.

run_folder.py   what is in the folder of a run, and how is config.json read back?
find.py         which run, checkpoint or model file does a person mean?
model_file.py   how is a model written to one file, and read without trusting it?
checkpoint.py   what must be saved so that training continues bit for bit?
metrics.py      what did each step and each evaluation measure, and which was the best?
curves.py       how did a run learn, and which of several learned better?
samples.py      what did the model write while it learned?
"""
