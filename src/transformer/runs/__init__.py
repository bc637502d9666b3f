"""A run's folder: what training writes into it, and how it is found and read again.

| File | The question it answers |
|---|---|
| `run_folder.py` | What is in the folder of a run, and who may write there? |
| `find.py` | Which run, checkpoint or model file does a person mean? |
| `model_file.py` | How is a model written to one file, and read without trusting it? |
| `implied_tensors.py` | Which tensors must a file have, and which sizes are impossible? |
| `checkpoint.py` | What must be saved so that training continues bit for bit? |
| `film.py` | How are the weights of many steps kept, so that learning can be watched? |
| `metrics.py` | What did each step and each evaluation measure, and which was the best? |
| `curves.py` | How did a run learn, and which of several learned better? |
| `samples.py` | What did the model write while it learned? |
"""
