"""A trained model leaves the project: for other people, other libraries and the browser.

| File | The question it answers |
|---|---|
| `model_hub.py` | How does a model get to the Hugging Face Hub, and back? |
| `hugging_face.py` | How do other programs get a folder that is enough by itself? |
| `published_tokenizer.py` | How do they cut text as we do? |
| `model_card.py` | What does the folder say about itself? |
| `training_command.py` | Which command made a run? |
| `import_model.py` | How does a published model become one of ours? |
| `download.py` | How does it get here, and what if the connection breaks? |
| `published.py` | What is in a published folder, and what is never read? |
| `families/` | Which of their numbers is which of ours? |
| `onnx.py` | How does a runtime without PyTorch compute them, with the cache as inputs? |
| `page.py` | How does a page that may read no files carry a model and curves? |
| `ladder_table.py` | What of a measured ladder does the page get? |
"""
