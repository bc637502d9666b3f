"""A trained model leaves the project: for other people, other libraries and the browser.

model_hub.py     how does a model get to the Hugging Face Hub, and back?
hugging_face.py  how does the library transformers compute the same logits?
onnx.py          how does a runtime without PyTorch compute them, with the cache as inputs?
page.py          how does a page that may read no files carry a model and curves?
"""
