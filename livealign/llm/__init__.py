"""Text to vector: the language model and its encoder.

Read `segment_text` first (a window as text), then `encoder` (texts to vectors) and `backbone` (a loaded model, its
device and number type). A model is named (`backbone_names`), fetched (`fetch`, `hub`), looked up by its hash (`lookup`)
and read from its folder (`model_folder`). `packing`, `layers`, `fused_layers`, `fused_layer`, `fused_parts`, `agreement`,
`matmul` and `layer_ops` are the engine: batches without padding, layers entered and left anywhere, compared with the
model's own. `lora` and `pooling` are part of the model in training and serving. `lexical`
counts words instead of reading them; `content_encoder` puts both side by side. Imports `dataset` and the ground.
"""
