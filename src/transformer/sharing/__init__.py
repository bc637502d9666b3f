"""A trained model leaves the project: for other people, other libraries and the browser.

| File | The question it answers |
|---|---|
| `model_hub.py` | How does a model get to the Hugging Face Hub, and back? |
| `hugging_face.py` | How does the library transformers compute the same logits? |
| `onnx.py` | How does a runtime without PyTorch compute them, with the cache as inputs? |
| `page.py` | How does a page that may read no files carry a model and curves? |
"""
