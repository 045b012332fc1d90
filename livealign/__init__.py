"""LiveAlign: live-streaming recommendation that follows the moment.

The library holds the data contract, the models and the online logic. It imports no orchestrator, no warehouse tool and no
web framework: orchestration → livealign ← bentos.
"""

__version__ = "0.1.0"
