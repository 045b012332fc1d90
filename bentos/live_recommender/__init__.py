"""The live recommender as a service: `service.py` and `messages.py` are the way in."""
