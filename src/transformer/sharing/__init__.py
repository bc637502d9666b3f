"""Models that leave this project, and how they come back.

model_hub.py     To and from the Hugging Face hub, as the same file that a checkpoint holds?
hugging_face.py  As a GPT-2 that the library transformers reads?
onnx.py          As a graph that runs without Python?
page.py          Into index.html?
"""
