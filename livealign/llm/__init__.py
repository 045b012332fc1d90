"""Text to vector: the language model and its encoder.

Read `segment_text` first (a window as text), then `encoder` (texts to vectors) and `backbone` (find, verify and load
the model). `packing`, `layers`, `fused_layers`, `matmul` and `layer_ops` are the engine: batches without padding,
layers entered and left anywhere. `lora` and `pooling` are part of the model in training and serving. `lexical`
counts words instead of reading them; `content_encoder` puts both side by side. Imports `dataset` and the ground.
"""
