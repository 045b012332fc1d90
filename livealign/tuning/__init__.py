"""LoRA tuning of the language model: pairs, losses, loop.

Read `adapter` first (tune, or copy the previous adapter), then `pairs` and `broadcast_pairs` (what is tuned on),
`losses`, `descriptions` and `loop`. `checkpoint` lets a killed run resume. Imports `llm` and what lies below it.
"""
