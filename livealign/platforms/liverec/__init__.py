"""LiveRec's Twitch logs: who was in which chat, in steps of ten minutes."""
