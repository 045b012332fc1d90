"""Chat archives of Twitch, YouTube and Bilibili → landing tables."""
