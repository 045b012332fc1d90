"""Twitch chat archives: broadcasts, messages, and the viewers inferred from them."""
