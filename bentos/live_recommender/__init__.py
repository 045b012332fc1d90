"""The live recommender: `service.py` is the BentoML service, `api.py` what goes in and out."""
