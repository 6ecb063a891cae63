"""Training: policy search, data collection, the model ensemble, the pipeline to a bundle.

Runs on a development machine only; nothing outside this folder imports torch.
"""
