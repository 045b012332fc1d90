"""A live-streaming platform made up from a seed, with its truth known.

Read in this order: config, world (who lives there), moments (what happens in the rooms), behaviour (what users do),
vocabulary and grammar and text (what is said), tables, platform (the archive).
"""

from livealign.simulation.config import SimulationConfig
from livealign.simulation.platform import SimulationSummary, simulate

__all__ = ["SimulationConfig", "SimulationSummary", "simulate"]
